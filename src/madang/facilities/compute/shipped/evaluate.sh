#!/bin/bash
# 언어 모델을 lm-evaluation-harness로 평가합니다. 결과는 results 폴더에 남습니다.
# Evaluates a language model with lm-evaluation-harness: what came out is in the folder results.
# 사용법 / usage: MODEL_FOLDER TASKS [more options of "lm_eval"], 예 / for example: /models/my-model kmmlu,hellaswag
set -euo pipefail
need() { command -v "$1" >/dev/null || { echo "$1 is not on this machine: ask the operator which environment has it" >&2; exit 127; }; }

need lm_eval
model=${1:?name the folder of the model as the first argument}
tasks=${2:?name the tasks as the second argument, with commas between}
shift 2
# A job has no network: everything is read from this machine.
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TRANSFORMERS_OFFLINE=1
exec lm_eval --model hf --model_args "pretrained=$model" --tasks "$tasks" --batch_size auto \
    --output_path results "$@"
