#!/usr/bin/env bash
# Stops the private Slurm that up.sh started in DIR; the folder stays, for its logs.
#
#   slurm/cluster/down.sh DIR
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

if [ $# -ne 1 ] || [ ! -d "$1/pids" ]; then
  echo "down.sh: error: usage: down.sh DIR, where up.sh started a cluster" >&2
  exit 2
fi
DIR=$(cd "$1" && pwd -P)
export SLURM_CONF="$DIR/slurm.conf"

ours() { # the process still is one of this cluster, not a later owner of the number
  tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | grep -qxF "SLURM_CONF=$DIR/slurm.conf"
}

stop() { # file holding a pid
  local pid; pid=$(cat "$1")
  if [ -n "$pid" ] && ours "$pid"; then
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
  fi
  rm -f "$1"
}

# Jobs first, so that no task outlives its slurmd and goes on writing.
if timeout 5 scontrol ping >/dev/null 2>&1; then
  timeout 10 scancel --state=PENDING --user="$(id -un)" 2>/dev/null || true
  timeout 10 scancel --signal=KILL --full --user="$(id -un)" 2>/dev/null || true
  timeout 10 scancel --user="$(id -un)" 2>/dev/null || true
  for _ in $(seq 50); do
    [ -n "$(timeout 5 squeue --noheader 2>/dev/null)" ] || break
    sleep 0.1
  done
fi
for pattern in 5-slurmd 4-slurmctld 3-slurmdbd 2-mariadb 1-munged; do
  for file in "$DIR"/pids/"$pattern"*; do
    [ ! -e "$file" ] || stop "$file"
  done
done
# A stepd outlives its slurmd; its command line names this folder's node spool or its environment this cluster.
for proc in /proc/[0-9]*; do
  pid=${proc#/proc/}
  if [ "$pid" != $$ ] && [ "$(cat "$proc/comm" 2>/dev/null)" = slurmstepd ] && ours "$pid"; then
    kill -9 "$pid" 2>/dev/null || true
  fi
done
echo "the cluster in $DIR is down"
