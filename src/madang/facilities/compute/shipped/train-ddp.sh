#!/bin/bash
# PyTorch로 학습합니다. 과제 파일 train.py를 GPU마다 한 프로세스로 실행합니다.
# Trains with PyTorch: runs train.py of the project with one process for each GPU.
set -euo pipefail
need() { command -v "$1" >/dev/null || { echo "$1 is not on this machine: ask the operator which environment has it" >&2; exit 127; }; }

need torchrun
test -f train.py || { echo "train.py is missing: add it to the files of the job" >&2; exit 2; }
# A minute before the limit USR1 is sent: train.py can save its state then.
exec torchrun --standalone --nproc-per-node="$MADANG_GPUS" train.py "$@"
