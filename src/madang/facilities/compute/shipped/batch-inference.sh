#!/bin/bash
# 입력을 나누어 여러 태스크에서 한꺼번에 추론합니다. 태스크마다 results.jsonl이 남습니다.
# Inference over many inputs: each task takes its share of the lines of inputs.jsonl and leaves results.jsonl.
set -euo pipefail
for file in inputs.jsonl infer.py; do
    test -f "$file" || { echo "$file is missing: add it to the files of the job" >&2; exit 2; }
done

awk -v all="$MADANG_TASKS" -v mine="$MADANG_TASK" '(NR - 1) % all == mine' inputs.jsonl > part.jsonl
rm inputs.jsonl
echo "task $MADANG_TASK of $MADANG_TASKS: $(wc -l < part.jsonl) lines"
exec python3 infer.py part.jsonl results.jsonl "$@"
