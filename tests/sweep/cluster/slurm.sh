#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: all its files are in FOLDER, and it is gone after `stop`.
# slurm.sh start|stop FOLDER; as root. Clients need SLURM_CONF=FOLDER/slurm.conf.
# Two partitions over the node: jobs in `first` preempt those in `second`, which are put back into the queue, and may
# begin again when their old credential has expired (cred_expire, 120 seconds by default).
set -euo pipefail
what=$1 folder=$(realpath "$2") host=$(hostname -s)
export SLURM_CONF=$folder/slurm.conf

start() {
  mkdir -p "$folder"/{state,spool,munge}
  head -c 1024 /dev/urandom > "$folder/munge/key"
  chmod 0400 "$folder/munge/key"
  chmod 0700 "$folder/munge"
  # its socket lies where clients of any user look for it by default, unless the configuration names another
  munged --force --key-file="$folder/munge/key" --socket="$folder/munge.socket" --pid-file="$folder/munge/pid" \
    --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
  cat > "$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=10
SlurmUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=30
MinJobAge=60
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=4096 State=UNKNOWN
PartitionName=first Nodes=$host PriorityTier=2 PreemptMode=OFF
PartitionName=second Nodes=$host PriorityTier=1 Default=YES
END
  slurmctld
  slurmd -N "$host"
  for _ in $(seq 100); do
    [ "$(sinfo --noheader --partition=second --format=%t 2> /dev/null)" = idle ] && return
    sleep 0.2
  done
  echo "Slurm did not start:" >&2
  tail -n 20 "$folder"/slurm*.log >&2
  stop
  exit 1
}

stop() {
  scancel --me 2> /dev/null || true
  for daemon in slurmd slurmctld munge/; do
    pid=$(cat "$folder/${daemon/munge\//munge/pid}" "$folder/$daemon.pid" 2> /dev/null | head -n 1) || true
    [ -z "$pid" ] || kill "$pid" 2> /dev/null || true
  done
  for _ in $(seq 50); do
    pgrep --full "$folder/munge.socket" > /dev/null || return 0
    sleep 0.1
  done
}

$what
