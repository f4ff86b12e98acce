# What Slurm runs, with what `handing.wrapper` sets above. The script of the user is a file, so that its #SBATCH lines are
# comments. The marks are evidence for when Slurm forgets; nobody is charged by them.
trap : USR1                                                  # it may come while nobody catches it yet
task=${SLURM_ARRAY_TASK_ID:-0}
given=$folder/given.$attempt
here=$folder/$task/$attempt
mark=$send.${SLURM_RESTART_COUNT:-0}
[ "$(<"$given/send")" = "$send" ] || exit 75                 # a submission that was given up never starts late
set -C
{ echo "$SLURM_JOB_ID $HOSTNAME $EPOCHSECONDS" > "$here/started.$mark"; } 2>/dev/null || exit 75  # nor a second copy
set +C
[ -d "$here/work" ] || cp -R "$given/files" "$here/work" || exit 74
cd "$here/work" || exit 74
mapfile -d '' -t own < "$given/environment"
mapfile -d '' -t arguments < "$given/arguments"
slurm=()
for name in ${!SLURM@}; do slurm+=("$name=${!name}"); done
token=$job.$task.$attempt.$mark
env -i "${slurm[@]}" PATH="$path" HOME="$here/work" TMPDIR=/tmp LANG=C.UTF-8 \
  CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES-}" MADANG_JOB="$job" MADANG_TASK="$task" MADANG_TASKS="$tasks" \
  MADANG_GPUS="$gpus" MADANG_GPU_TYPE="$gpu_type" MADANG_CPUS="$cpus" OMP_NUM_THREADS="$cpus" \
  MADANG_MEMORY_MB="$memory" MADANG_LIMIT_S="$limit" \
  MADANG_ATTEMPT="$attempt" MADANG_RUN="$token" "${own[@]}" "$given/script" "${arguments[@]}" \
  </dev/null >>"$here/out.log" 2>&1 &
child=$!

ours() {                                                     # the processes of this run, also those that left its group
  local file
  for file in $(grep -lsz "^MADANG_RUN=$token\$" /proc/[0-9]*/environ); do  # others' can't be read
    file=${file#/proc/}
    echo "${file%/environ}"
  done
}
warn() {                                                     # USR1 to those who catch it; it would kill the others
  local pid name value
  for pid in $(ours); do
    while read -r name value; do
      [ "$name" = SigCgt: ] && (( 16#${value: -4} & 512 )) && kill -USR1 "$pid"
    done < "/proc/$pid/status"
  done 2>/dev/null
}
trap warn USR1
trap : TERM                                                  # Slurm tells every process itself
while :; do : >| "$here/alive.$mark"; read -rt 15 <> <(:); done 2>/dev/null &
beat=$!
while :; do wait "$child"; code=$?; kill -0 "$child" 2>/dev/null || break; done
kill "$beat" 2>/dev/null
left=$(ours); [ -n "$left" ] && kill -KILL $left 2>/dev/null
echo "$code $EPOCHSECONDS" >| "$here/ended.$mark.new" && mv "$here/ended.$mark.new" "$here/ended.$mark"
exit "$code"
