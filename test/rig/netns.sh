#!/usr/bin/env bash
# Hosts in network namespaces on one bridge, each shaped both ways. netns.ts drives it; by hand it works as well.
#   netns.sh up HOSTS RATE_MBIT [ORIGIN_RATE_MBIT [SEED_RATE_MBIT]]
#       <P>-br (the bridge), <P>-origin 10.77.0.1, <P>-seed 10.77.0.2, <P>-h1 10.77.0.11, <P>-h2 10.77.0.12, ...
#   netns.sh shape HOST RATE_MBIT [BURST_BYTES]   other rates for one host
#   netns.sh queue HOST                           hands what arrives at the host to NFQUEUE 0 (see netns-delay.c)
#   netns.sh unqueue HOST                         lets it arrive at once again
#   netns.sh link HOST up|down                    pulls its cable: no FIN, no RST
#   netns.sh down                                 removes all of it
# P (environment, default "eg") names the set, so that several can live side by side. Needs root, iproute2; iptables for queue.
set -euo pipefail
P=${P:-eg}
bridge=$P-br

add_host() { # NAME ADDRESS
  ip netns add "$P-$1"
  ip -n "$P-$1" link set lo up
  ip link add "v-$1" netns "$P-$1" type veth peer name "p-$1" netns "$bridge"
  ip -n "$P-$1" link set "v-$1" name eth0
  ip -n "$P-$1" addr add "$2/24" dev eth0
  ip -n "$P-$1" link set eth0 up
  # Linux's own default, whatever this machine's is: BBR sends some percent twice over short queues. Where it is not there, go on.
  ip -n "$P-$1" route replace 10.77.0.0/24 dev eth0 proto kernel scope link src "$2" congctl cubic 2> /dev/null || true
  ip -n "$bridge" link set "p-$1" master br0 up
}

shape() { # NAME RATE [BURST]. What a host sends is shaped at its eth0, what it receives at the bridge's end of its cable.
  # 5 ms at the rate, and never less than two GSO packets of 64 kB: below that the kernel cuts them up in software, 3x slower.
  local burst=${3:-$(($2 * 625))}
  ((burst < 131072)) && burst=131072
  ip netns exec "$P-$1" tc qdisc replace dev eth0 root tbf rate "${2}mbit" burst "$burst" latency 50ms
  ip netns exec "$bridge" tc qdisc replace dev "p-$1" root tbf rate "${2}mbit" burst "$burst" latency 50ms
}

case ${1:-} in
  up)
    hosts=$2 rate=$3 origin_rate=${4:-$3} seed_rate=${5:-$3}
    ip netns add "$bridge"
    ip -n "$bridge" link set lo up
    ip -n "$bridge" link add br0 type bridge
    ip -n "$bridge" link set br0 up
    # A switch has no firewall: where the kernel has the bridge ask one, each packet costs more than its way.
    ip netns exec "$bridge" sysctl -qw net.bridge.bridge-nf-call-iptables=0 2> /dev/null || true
    add_host origin 10.77.0.1
    shape origin "$origin_rate"
    add_host seed 10.77.0.2
    shape seed "$seed_rate"
    for i in $(seq "$hosts"); do
      add_host "h$i" "10.77.0.$((10 + i))"
      shape "h$i" "$rate"
    done
    ;;
  shape) shape "${@:2}" ;;
  queue) ip netns exec "$P-$2" iptables -A INPUT -i eth0 -j NFQUEUE --queue-num 0 --queue-bypass ;;
  unqueue) ip netns exec "$P-$2" iptables -D INPUT -i eth0 -j NFQUEUE --queue-num 0 --queue-bypass ;;
  link) ip -n "$P-$2" link set eth0 "$3" ;;
  down) ip netns list | awk -v p="$P-" 'index($1, p) == 1 { print $1 }' | xargs -r -n1 ip netns del ;;
  *)
    sed -n '2,10p' "$0"
    exit 2
    ;;
esac
