#!/usr/bin/env bash
# Starts a private Slurm on this machine: several nodes, accounting, everything inside one folder.
#
#   slurm/cluster/up.sh DIR [--nodes N] [--cpus N] [--memory-mb N] [--max-array N] [--no-accounting]
#   source DIR/env.sh        # sbatch, squeue, sacct now speak to it
#   slurm/cluster/down.sh DIR
#
# Needs the Debian packages (or their like): slurmctld slurmd slurm-client munge slurm-wlm-basic-plugins
# slurmdbd slurm-wlm-mysql-plugin mariadb-server-core mariadb-client-core
# Jobs of the partition `urgent` preempt those of `main`, which are told to save, then requeued.
# Each slurmd lives in its own UTS and mount namespace, so node1..nodeN are host names that resolve.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

fail() { echo "up.sh: error: $*" >&2; exit 2; }

[ $# -ge 1 ] || fail "usage: up.sh DIR [--nodes N] [--cpus N] [--memory-mb N] [--max-array N] [--no-accounting]"
case $1 in -*) sed -n '2,10s/^# \{0,1\}//p' "$0"; [ "$1" = --help ] && exit 0 || exit 2 ;; esac
mkdir -p "$1"
DIR=$(cd "$1" && pwd -P); shift
NODES=4 CPUS=2 MEMORY=8000 MAX_ARRAY=1001 ACCOUNTING=yes
while [ $# -gt 0 ]; do
  [ "$1" = --no-accounting ] || [ $# -ge 2 ] || fail "$1: wanted a value after it, or it is no option"
  case $1 in
    --nodes) NODES=$2; shift 2 ;;
    --cpus) CPUS=$2; shift 2 ;;
    --memory-mb) MEMORY=$2; shift 2 ;;
    --max-array) MAX_ARRAY=$2; shift 2 ;;
    --no-accounting) ACCOUNTING=no; shift ;;
    *) fail "unknown option $1" ;;
  esac
done
for number in "$NODES" "$CPUS" "$MEMORY" "$MAX_ARRAY"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || fail "got '$number', wanted a whole number above zero"
done

needed="slurmctld slurmd sbatch munged unshare"
[ "$ACCOUNTING" = no ] || needed="$needed slurmdbd mariadbd mariadb-install-db mariadb"
for tool in $needed; do
  command -v "$tool" >/dev/null || fail "$tool is not installed; apt-get install slurmctld slurmd slurm-client munge slurm-wlm-basic-plugins slurmdbd slurm-wlm-mysql-plugin mariadb-server-core mariadb-client-core"
done
[ ${#DIR} -le 80 ] || fail "$DIR is ${#DIR} characters long; sockets in it need at most 80, choose a shorter folder"
[ ! -e "$DIR/pids" ] || [ -z "$(ls -A "$DIR/pids")" ] || fail "$DIR holds a cluster already; stop it with down.sh $DIR"

mkdir -p "$DIR"/{state,spool,log,run,pids,nodes,munge,tmp}
chmod 700 "$DIR/munge"
USER_NAME=$(id -un)

free_ports() { # first of $1 neighbouring ports nobody listens on
  local base port
  for _ in $(seq 200); do
    base=$((20000 + (RANDOM % 1000) * 12))
    for ((port = base; port < base + $1; port++)); do
      if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue 2; fi
    done
    echo "$base"; return
  done
  fail "found no free ports"
}
PORT=$(free_ports $((NODES + 2)))

wait_for() { # seconds, what, command...
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then
      "$(dirname "${BASH_SOURCE[0]}")/down.sh" "$DIR" || true
      fail "$what did not come up; see $DIR/log"
    fi
    sleep 0.1
  done
}

munge_up() {
  [ -e "$DIR/munge/key" ] || { head -c 1024 /dev/urandom >"$DIR/munge/key"; chmod 400 "$DIR/munge/key"; }
  munged --force --foreground --key-file="$DIR/munge/key" --socket="$DIR/run/munge.socket" \
    --pid-file="$DIR/run/munged.pid" --log-file="$DIR/log/munged.log" --seed-file="$DIR/munge/seed" \
    --num-threads=4 </dev/null >"$DIR/log/munged.out" 2>&1 &
  echo $! >"$DIR/pids/1-munged"
  wait_for 10 munged munge --socket="$DIR/run/munge.socket" --no-input
}

database_up() {
  if [ ! -d "$DIR/database" ]; then
    mariadb-install-db --no-defaults --datadir="$DIR/database" --user="$USER_NAME" --skip-test-db \
      --auth-root-authentication-method=normal >"$DIR/log/mariadb-install.log" 2>&1 || fail "mariadb-install-db failed; see $DIR/log"
  fi
  mariadbd --no-defaults --datadir="$DIR/database" --socket="$DIR/run/mysql.socket" --pid-file="$DIR/run/mysql.pid" \
    --tmpdir="$DIR/tmp" --user="$USER_NAME" --skip-networking --innodb-buffer-pool-size=64M \
    --innodb-lock-wait-timeout=900 </dev/null >"$DIR/log/mariadb.log" 2>&1 &
  echo $! >"$DIR/pids/2-mariadb"
  wait_for 30 mariadb mariadb --no-defaults --socket="$DIR/run/mysql.socket" --user=root -e "select 1"
  cat >"$DIR/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$DIR/run/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((PORT + 1))
SlurmUser=$USER_NAME
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_accounting
LogFile=$DIR/log/slurmdbd.log
PidFile=$DIR/run/slurmdbd.pid
CommunicationParameters=NoInAddrAny
CONF
  chmod 600 "$DIR/slurmdbd.conf"
  MYSQL_UNIX_PORT="$DIR/run/mysql.socket" SLURM_CONF="$DIR/slurm.conf" slurmdbd -D </dev/null >"$DIR/log/slurmdbd.out" 2>&1 &
  echo $! >"$DIR/pids/3-slurmdbd"
  wait_for 30 slurmdbd sacctmgr --noheader list cluster
  sacctmgr --immediate add cluster private >"$DIR/log/sacctmgr.log" 2>&1 || grep -q "already exists" "$DIR/log/sacctmgr.log" \
    || fail "sacctmgr could not add the cluster; see $DIR/log/sacctmgr.log"
}

write_conf() {
  local gres=""
  if [ -c /dev/tty0 ] && [ -c /dev/tty1 ]; then
    gres="Gres=gpu:2"
    echo "Name=gpu File=/dev/tty[0-1]" >"$DIR/gres.conf" # stand-ins that only count
  fi
  : >"$DIR/plugstack.conf"
  cat >"$DIR/slurm.conf" <<CONF
ClusterName=private
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=$USER_NAME
SlurmdUser=$USER_NAME
AuthType=auth/munge
AuthInfo=socket=$DIR/run/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort=$PORT
SlurmctldPidFile=$DIR/run/slurmctld.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdPidFile=$DIR/run/slurmd-%n.pid
SlurmdLogFile=$DIR/log/slurmd-%n.log
SlurmdSpoolDir=$DIR/spool/%n
StateSaveLocation=$DIR/state
TmpFS=$DIR/tmp/%n
PlugStackConfig=$DIR/plugstack.conf
SlurmdParameters=config_overrides
SlurmctldParameters=preempt_send_user_signal
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=50000,bf_interval=1,defer_batch
MaxArraySize=$MAX_ARRAY
MaxJobCount=20000
KillWait=10
MinJobAge=300
SlurmdTimeout=30
InactiveLimit=0
JobRequeue=1
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
${gres:+GresTypes=gpu}
$(accounting_lines)
NodeName=node[1-$NODES] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[$((PORT + 2))-$((PORT + 1 + NODES))] CPUs=$CPUS Boards=1 SocketsPerBoard=1 CoresPerSocket=$CPUS ThreadsPerCore=1 RealMemory=$MEMORY $gres State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES DefaultTime=60 MaxTime=1440 State=UP PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=ALL DefaultTime=60 MaxTime=1440 State=UP PriorityTier=10 PreemptMode=OFF
CONF
}

accounting_lines() {
  if [ "$ACCOUNTING" = no ]; then
    echo "AccountingStorageType=accounting_storage/none"
  else
    echo "AccountingStorageType=accounting_storage/slurmdbd"
    echo "AccountingStorageHost=127.0.0.1"
    echo "AccountingStoragePort=$((PORT + 1))"
    echo "AccountingStoragePass=$DIR/run/munge.socket"
  fi
}

node_up() { # a slurmd that believes its host is called $1
  local namespaces=(--uts --mount)
  [ "$(id -u)" = 0 ] || namespaces+=(--user --map-current-user --keep-caps)
  mkdir -p "$DIR/spool/$1" "$DIR/tmp/$1"
  unshare "${namespaces[@]}" bash -c \
    'hostname "$1"; mount --bind "$2" /etc/hosts; exec slurmd -D -N "$1"' node "$1" "$DIR/hosts" \
    </dev/null >"$DIR/log/slurmd-$1.out" 2>&1 &
  echo $! >"$DIR/pids/5-slurmd-$1"
}

all_idle() { [ "$(sinfo --noheader --Node --states=idle --format=%N | sort -u | wc -l)" -eq "$NODES" ]; }

export SLURM_CONF="$DIR/slurm.conf"
write_conf
{ cat /etc/hosts; for ((i = 1; i <= NODES; i++)); do echo "127.0.0.1 node$i"; done; } >"$DIR/hosts"
cat >"$DIR/env.sh" <<ENV
export SLURM_CONF="$DIR/slurm.conf"
export PATH="\$PATH:/usr/sbin:/sbin"
ENV
munge_up
[ "$ACCOUNTING" = no ] || database_up
slurmctld -D -i </dev/null >"$DIR/log/slurmctld.out" 2>&1 &
echo $! >"$DIR/pids/4-slurmctld"
wait_for 20 slurmctld scontrol ping
for ((i = 1; i <= NODES; i++)); do node_up "node$i"; done
wait_for 30 "the nodes" all_idle
echo "$NODES nodes are up; source $DIR/env.sh"
