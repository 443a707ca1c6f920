// Gives one process a time and a chance of its own, both drawn from a seed: two runs of one seed are the same. The
// dynamic linker loads this library before libc (LD_PRELOAD).
//
// Time stands still while the process computes. When it would wait, the wait is over at once and the clocks have moved
// by its length. The variable SIMULATION_SEED is the seed of what the process takes for random bytes. SIMULATION_WALL is a
// step of the wall clock: its time since the beginning, in milliseconds, and its length in seconds.
//
// Some hash maps take chance from addresses (foldhash), so the process starts again without random ones.
//
// For programs with one thread that wait in epoll, as Tokio's runtime does.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/personality.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SECOND = 1000000000, MILLISECOND = 1000000 };

// 2026-01-01, and a thousand seconds after the start of the machine.
static int64_t wall = 1767225600 * (int64_t)SECOND, monotonic = 1000 * (int64_t)SECOND;

static uint64_t chance;

// When the wall clock is set, and by how much.
static int64_t step_at = INT64_MAX, step;

__attribute__((constructor)) static void begin(int count, char **arguments) {
    (void)count;
    int persona = personality(0xffffffff);
    if (!(persona & ADDR_NO_RANDOMIZE)) {
        if (personality((unsigned long)persona | ADDR_NO_RANDOMIZE) != -1) execv("/proc/self/exe", arguments);
        fputs("addresses stay random here: two runs of a seed can differ\n", stderr);
    }
    const char *text = getenv("SIMULATION_SEED");
    chance = text ? strtoull(text, NULL, 10) : 0;
    char *rest = getenv("SIMULATION_WALL");
    if (!rest) return;
    step_at = monotonic + strtoll(rest, &rest, 10) * MILLISECOND;
    step = strtoll(rest, &rest, 10) * SECOND;
}

// splitmix64
static uint64_t draw(void) {
    uint64_t z = chance += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
    (void)flags;
    for (size_t at = 0; at < length; at += 8) {
        uint64_t bits = draw();
        memcpy((char *)buffer + at, &bits, length - at < 8 ? length - at : 8);
    }
    return (ssize_t)length;
}

int clock_gettime(clockid_t id, struct timespec *time) {
    int is_wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
    if (!is_wall && id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE && id != CLOCK_BOOTTIME)
        return (int)syscall(SYS_clock_gettime, id, time);
    int64_t now = is_wall ? wall + (monotonic >= step_at ? step : 0) : monotonic;
    time->tv_sec = now / SECOND;
    time->tv_nsec = now % SECOND;
    return 0;
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
    int ready = (int)syscall(SYS_epoll_pwait, epoll, events, most, 0, NULL, 8);
    if (ready != 0 || timeout == 0) return ready;
    if (timeout < 0) {
        fputs("the simulation waits for something that never comes\n", stderr);
        _exit(70);
    }
    wall += timeout * (int64_t)MILLISECOND;
    monotonic += timeout * (int64_t)MILLISECOND;
    return 0;
}
