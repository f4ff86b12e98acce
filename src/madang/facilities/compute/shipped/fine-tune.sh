#!/bin/bash
# 언어 모델을 LoRA로 미세 조정합니다(TRL). 모델 폴더와 data.jsonl이 필요합니다.
# Fine-tunes a language model with LoRA (TRL): needs the folder of a model and data.jsonl.
# 사용법 / usage: MODEL_FOLDER [more options of "trl sft"]
set -euo pipefail
need() { command -v "$1" >/dev/null || { echo "$1 is not on this machine: ask the operator which environment has it" >&2; exit 127; }; }

need trl
test -f data.jsonl || { echo "data.jsonl is missing: add it to the files of the job" >&2; exit 2; }
model=${1:?name the folder of the model as the first argument}
shift
mkdir data
mv data.jsonl data/train.jsonl
# A job has no network: everything is read from this machine.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
exec trl sft --num_processes "$MADANG_GPUS" --model_name_or_path "$model" --dataset_name ./data \
    --use_peft --output_dir adapter "$@"
