#!/usr/bin/env bash
# Brings up a Kubernetes node on this machine: etcd, the API server and its controllers, containerd, kubelet and
# kube-proxy, in a network namespace of their own. For end-to-end tests where there is no cluster.
#   up.sh FOLDER [IMAGE.tar ...]   FOLDER is made; FOLDER/kubeconfig is for the admin
#   up.sh --check                  whether this machine can: says nothing, or what is in the way
# Needs root; installs Debian packages. Several may run at once. down.sh FOLDER removes it, and so does the end of the
# process that called up.sh, however it ends.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
# shellcheck source=common.sh
. "$here/common.sh"

# Nodes on one machine at the same time: one network of four addresses each, from the range for benchmarks (RFC 2544).
readonly NODES=250
# How long anything may take to come up, in looks of 0.1 s: seconds when idle, a minute or two when not.
readonly PATIENCE=1800

# === whether it can ===

packages_missing() {
    local command package
    while read -r command package; do
        have "$command" || echo "$package"
    done <<'LIST'
containerd containerd
ctr containerd
runc runc
ip iproute2
nft nftables
nsenter util-linux
openssl openssl
dnsmasq dnsmasq-base
cc build-essential
LIST
    cni_folder >/dev/null || echo containernetworking-plugins
}

cni_folder() {
    local folder
    for folder in /usr/lib/cni /opt/cni/bin; do
        if [ -x "$folder/ptp" ] && [ -x "$folder/host-local" ] && [ -x "$folder/loopback" ]; then echo "$folder"; return; fi
    done
    return 1
}

# What is in the way, a line each.
obstacles() {
    [ "$(uname -s)" = Linux ] || { echo "this is not Linux"; return; }
    [ "$(id -u)" -eq 0 ] || { echo "this is not root"; return; }
    if [ -n "$(packages_missing)" ] && ! have apt-get; then echo "not installed: $(packages_missing | sort -u | xargs)"; fi
    [ -w /sys/fs/cgroup ] || ls -d /sys/fs/cgroup/*/ >/dev/null 2>&1 || echo "no control groups in /sys/fs/cgroup"
    [ -w /proc/sys/net/ipv4/ip_forward ] || echo "/proc/sys is read-only"
    unshare --net true 2>/dev/null || echo "no right to make network namespaces"
    local folder
    for folder in "${TMPDIR:-/tmp}" "${XDG_CACHE_HOME:-${HOME:-/root}}"; do
        has_overlays "$folder" || echo "no overlay file system in $folder"
    done
}

# Images need it; there is none on top of another, and no right to mount in many containers.
has_overlays() {
    local folder mounted=0
    folder=$(mktemp -d "$1/.overlay.XXXXXX" 2>/dev/null) || return
    mkdir "$folder"/{lower,upper,work,merged}
    unshare --mount mount -t overlay overlay "$folder/merged" \
        -o "lowerdir=$folder/lower,upperdir=$folder/upper,workdir=$folder/work" 2>/dev/null || mounted=1
    rm -rf "$folder"
    return "$mounted"
}

if [ "${1-}" = --check ]; then
    found=$(obstacles)
    [ -z "$found" ] || { echo "$found"; exit 1; }
    exit
fi
[ $# -ge 1 ] || die "usage: up.sh FOLDER [IMAGE.tar ...], or up.sh --check"
found=$(obstacles)
[ -z "$found" ] || die "No node on this machine: $found"

# === its place ===

missing=$(packages_missing | sort -u | xargs)
if [ -n "$missing" ]; then
    say "Installing Debian packages: $missing"
    # shellcheck disable=SC2086 # several packages
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; } >/dev/null
fi

mkdir -p "$1"
DIR=$(cd "$1" && pwd)
readonly DIR
shift
[ -z "$(ls -A "$DIR")" ] || die "$DIR is not empty"
mkdir -p "$DIR"/{run,log,conf,cni,dns,pods.log}
number=1
while ! { mkdir -p "$REGISTRY" && mkdir "$REGISTRY/$number" 2>/dev/null; }; do
    number=$((number + 1))
    [ "$number" -le "$NODES" ] || die "$NODES nodes are in use: see $REGISTRY"
done
echo "$DIR" >"$REGISTRY/$number/folder"
readonly NODE=functiongraph-node-$number IP=198.18.$number.1 LINK=fgnode$number
echo "$number" >"$DIR/number"
trap '[ $? -eq 0 ] || { say "The node did not come up; the ends of its logs:"; tail -n 5 "$DIR"/log/*.log >&2; "$here/down.sh" "$DIR" --keep-logs; }' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The node must not outlive its caller, which may be killed.
guard() {
    while [ "$(started "$1")" = "$2" ]; do
        [ -d "$REGISTRY/$number" ] || return 0
        sleep 1
    done
    # This script, should it still be at work: it clears up after itself.
    while [ "$(started "$3")" = "$4" ]; do
        kill "$3" 2>/dev/null || true
        sleep 1
    done
    [ ! -d "$REGISTRY/$number" ] || "$here/down.sh" "$DIR"
}
export -f guard started
export here number DIR REGISTRY
setsid bash -c "guard $PPID $(started "$PPID") $$ $(started $$)" >/dev/null 2>&1 </dev/null &

programs() { "$here/../build.sh" "$@" --print-dir; }
PATH=$(programs):$(programs node):$PATH
export PATH

CNI=$(cni_folder)
for file in "$here"/conf/*; do
    sed -e "s|@DIR@|$DIR|g; s|@NODE@|$NODE|g; s|@IP@|$IP|g; s|@CNI@|$CNI|g" "$file" >"$DIR/conf/${file##*/}"
done
mv "$DIR/conf/cni.conflist" "$DIR/cni/10-node.conflist"
"$here/pki.sh" "$DIR/pki" "$IP" "$NODE"
cp "$DIR/pki/admin.conf" "$DIR/kubeconfig"
export KUBECONFIG=$DIR/kubeconfig
: >"$DIR/resolv.conf" # Pods ask the node's own name server, which asks nobody

ip netns add "$NODE"
ip link add "$LINK" type veth peer name node netns "$NODE"
ip addr add "198.18.$number.2/30" dev "$LINK"
ip link set "$LINK" up
ip -n "$NODE" link set lo up
ip -n "$NODE" addr add "$IP/30" dev node
ip -n "$NODE" link set node up
# Without a default route a missing image fails at once. Service addresses need one that leads somewhere, though.
ip -n "$NODE" route add 10.96.0.0/16 dev lo
control_groups "$NODE" | while read -r group; do
    mkdir -p "$group"
    # A new one of version 1 has no processors and no memory at first.
    for file in cpuset.cpus cpuset.mems; do
        if [ -f "$group/../$file" ] && [ -f "$group/$file" ] && [ -z "$(cat "$group/$file")" ]; then cat "$group/../$file" >"$group/$file"; fi
    done
done

# === its programs ===

start() { # name, program, arguments
    local name=$1
    shift
    setsid nsenter --net="/run/netns/$NODE" "$@" >"$DIR/log/$name.log" 2>&1 </dev/null 9>&- &
    echo $! >"$DIR/run/$name.pid"
}

until_true() { # what for, command
    local what=$1 looks=0 pid
    shift
    until "$@" >/dev/null 2>&1; do
        for pid in "$DIR"/run/*.pid; do
            is_alive "$(cat "$pid")" || die "$(basename "$pid" .pid) ended while waiting for: $what"
        done
        looks=$((looks + 1))
        [ "$looks" -lt "$PATIENCE" ] || die "Waited in vain for: $what"
        sleep 0.1
    done
}

# An image of one static program, in the form of `docker save`.
pause_image() {
    local build=$DIR/pause layer architecture
    mkdir -p "$build/root"
    cc -static -Os -s -o "$build/root/pause" "$here/pause.c"
    tar --create --file "$build/layer.tar" --owner 0 --group 0 --numeric-owner --directory "$build/root" pause
    layer=$(sha256sum "$build/layer.tar" | cut -c1-64)
    case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac
    printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/pause"],"User":"65535:65535"},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$architecture" "$layer" >"$build/config.json"
    printf '[{"Config":"config.json","RepoTags":["localhost/pause:1"],"Layers":["layer.tar"]}]' >"$build/manifest.json"
    tar --create --file "$DIR/pause.tar" --directory "$build" manifest.json config.json layer.tar
}

# Tells the name server of each Service.
follow_services() {
    kubectl get services --all-namespaces --watch --output-watch-events --no-headers --output custom-columns=\
EVENT:.type,NAMESPACE:.object.metadata.namespace,NAME:.object.metadata.name,IP:.object.spec.clusterIP | while read -r event namespace name address; do
        file=$DIR/dns/$namespace.$name
        case $event,$address in
            DELETED,*) rm -f "$file" ;;
            *,[0-9]*) echo "$address $name.$namespace.svc.cluster.local" >"$file" ;;
        esac
    done
}

P=$DIR/pki
start containerd containerd --config "$DIR/conf/containerd.toml"
start etcd etcd --data-dir "$DIR/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
start kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address="$IP" --advertise-address="$IP" --secure-port=6443 \
    --tls-cert-file="$P/apiserver.crt" --tls-private-key-file="$P/apiserver.key" --client-ca-file="$P/ca.crt" \
    --kubelet-client-certificate="$P/apiserver-kubelet.crt" --kubelet-client-key="$P/apiserver-kubelet.key" --kubelet-certificate-authority="$P/ca.crt" \
    --kubelet-preferred-address-types=InternalIP --service-cluster-ip-range=10.96.0.0/16 \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file="$P/service-accounts.pub" \
    --service-account-signing-key-file="$P/service-accounts.key" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true
start name-server dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --no-resolv --no-hosts --local=/#/ \
    --hostsdir="$DIR/dns" --listen-address="$IP" --bind-interfaces --pid-file= --log-facility=-
pause_image
until_true "the API server" kubectl get --raw /readyz
start kube-controller-manager kube-controller-manager --kubeconfig="$P/kube-controller-manager.conf" --leader-elect=false \
    --use-service-account-credentials --root-ca-file="$P/ca.crt" --service-account-private-key-file="$P/service-accounts.key" \
    --bind-address=127.0.0.1 --authentication-kubeconfig="$P/kube-controller-manager.conf" --authorization-kubeconfig="$P/kube-controller-manager.conf"
start kube-scheduler kube-scheduler --kubeconfig="$P/kube-scheduler.conf" --leader-elect=false --bind-address=127.0.0.1 \
    --authentication-kubeconfig="$P/kube-scheduler.conf" --authorization-kubeconfig="$P/kube-scheduler.conf"
until_true containerd ctr --address "$DIR/run/containerd.sock" version
"$here/load.sh" "$DIR" "$DIR/pause.tar" "$@"
start kubelet kubelet --config="$DIR/conf/kubelet.yaml" --kubeconfig="$P/kubelet.conf" --hostname-override="$NODE" --node-ip="$IP" \
    --root-dir="$DIR/kubelet" --cert-dir="$P"
start kube-proxy kube-proxy --config="$DIR/conf/kube-proxy.yaml" --hostname-override="$NODE"
export -f follow_services
start services bash -c follow_services
until_true "the node to be Ready" kubectl wait --for=condition=Ready "node/$NODE" --timeout=1s
