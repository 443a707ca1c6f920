#!/usr/bin/env bash
# Keys, certificates and kubeconfigs of a node, from one authority: pki.sh FOLDER IP NODE
set -euo pipefail
folder=$1 ip=$2 node=$3
mkdir -p "$folder"
cd "$folder"
umask 077

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null; }

certificate() { # file, subject, extensions
    key "$1"
    openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" \
        -extfile <(printf '%s' "$3") 2>/dev/null
}

kubeconfig() { # file; its certificate has the same name. Complete in itself: it may be copied.
    cat >"$1.conf" <<YAML
apiVersion: v1
kind: Config
clusters:
  - name: $node
    cluster: {server: "https://$ip:6443", certificate-authority-data: $(base64 -w0 ca.crt)}
users:
  - name: $1
    user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}
contexts:
  - name: $node
    context: {cluster: $node, user: $1}
current-context: $node
YAML
}

key ca
openssl req -x509 -new -key ca.key -subj "/CN=$node" -days 30 -out ca.crt
openssl genrsa -out service-accounts.key 2048 2>/dev/null
openssl rsa -in service-accounts.key -pubout -out service-accounts.pub 2>/dev/null
names="subjectAltName=IP:$ip,IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc"
certificate apiserver /CN=kube-apiserver "$names"$'\nextendedKeyUsage=serverAuth'
certificate kubelet-server "/CN=$node" "subjectAltName=IP:$ip,DNS:$node"$'\nextendedKeyUsage=serverAuth'
while read -r name subject; do
    certificate "$name" "$subject" extendedKeyUsage=clientAuth
    kubeconfig "$name"
done <<LIST
admin /O=system:masters/CN=admin
apiserver-kubelet /O=system:masters/CN=apiserver-kubelet
kube-controller-manager /CN=system:kube-controller-manager
kube-scheduler /CN=system:kube-scheduler
kube-proxy /CN=system:kube-proxy
kubelet /O=system:nodes/CN=system:node:$node
LIST
