#!/bin/bash
# 매개변수 표의 행마다 학습을 한 번씩 합니다. 값은 환경 변수로 들어옵니다.
# Trains once for each row of the parameter table: its values come as environment variables.
set -euo pipefail
test -f train.py || { echo "train.py is missing: add it to the files of the job" >&2; exit 2; }
echo "lr=$lr seed=$seed"
exec python3 train.py --lr "$lr" --seed "$seed" "$@"
