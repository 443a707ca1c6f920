// Shifts the wall clock of one process. The dynamic linker loads this library before libc (LD_PRELOAD).
//
// The file that the variable WRONG_CLOCK names holds two int64 in the byte order of the machine. The first is the shift
// in nanoseconds; a test may change it at any time, and the next call sees it. The second becomes 1 when the process
// first reads the wall clock, so that a test can tell a shifted process from one that never loaded this library.
//
// The monotonic clock and the times of files stay right. libfaketime can do this too, but leaves two files in /dev/shm
// for each process that ends by SIGKILL, and reads a file for each call.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SECOND = 1000000000 };

static _Atomic int64_t *shared;

__attribute__((constructor)) static void map_file(void) {
    const char *path = getenv("WRONG_CLOCK");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, 2 * sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) shared = mapped;
}

static void shift(struct timespec *time) {
    if (!shared) return;
    atomic_store_explicit(&shared[1], 1, memory_order_relaxed);
    int64_t now = time->tv_sec * (int64_t)SECOND + time->tv_nsec + atomic_load(&shared[0]);
    time->tv_sec = now / SECOND;
    time->tv_nsec = now % SECOND;
}

#ifdef __APPLE__
// dyld replaces calls from everywhere but this library.
#define REPLACES(name) \
    __attribute__((used, section("__DATA,__interpose"))) static const struct { const void *ours, *theirs; } \
        replaces_##name = {(const void *)wrong_##name, (const void *)name};
#define REAL(id, time) clock_gettime(id, time)
#define OURS(name) wrong_##name
#define IS_WALL(id) ((id) == CLOCK_REALTIME)
#else
#include <sys/syscall.h>
#define REPLACES(name)
#define REAL(id, time) (int)syscall(SYS_clock_gettime, id, time)
#define OURS(name) name
#define IS_WALL(id) ((id) == CLOCK_REALTIME || (id) == CLOCK_REALTIME_COARSE)
#endif

int OURS(clock_gettime)(clockid_t id, struct timespec *time) {
    int result = REAL(id, time);
    if (result == 0 && IS_WALL(id)) shift(time);
    return result;
}

int OURS(gettimeofday)(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int result = OURS(clock_gettime)(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = (suseconds_t)(now.tv_nsec / 1000);
    return result;
}

time_t OURS(time)(time_t *time) {
    struct timespec now;
    if (OURS(clock_gettime)(CLOCK_REALTIME, &now) != 0) return -1;
    if (time) *time = now.tv_sec;
    return now.tv_sec;
}

REPLACES(clock_gettime)
REPLACES(gettimeofday)
REPLACES(time)
