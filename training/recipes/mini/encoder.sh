#!/usr/bin/env bash
# The miniature from nothing: speech, two rounds of masked prediction, codebook, figures. Needs espeak-ng and flite
# (Debian packages of these names), 2 cores and 3 GB of disk; a second run continues where the first was stopped.
#   encoder.sh [--work DIR] [--settings TOML] [--out MODEL_DIR] [--results JSON] [--demo DIR]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
work=$root/scratch/mini
settings=$here/encoder.toml
out=$root/python/spire_dsu/models/mini
results=$here/RESULTS.json
demo=$root/python/spire_dsu/assets
while (($#)); do
  case $1 in
    --work | --settings | --out | --results | --demo) declare "${1#--}=$2"; shift 2 ;;
    *) echo "unknown argument: $1" >&2; exit 2 ;;
  esac
done

python=$root/.venv/bin/python
[[ -x $python ]] || python=python3
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
export OMP_WAIT_POLICY=PASSIVE  # threads that spin lose more than they win where other work runs
stage() { "$python" -m spire_training.encoder "$@"; }

stage speech "$settings" --work "$work"
stage pretrain "$settings" --work "$work" --round 1
stage pretrain "$settings" --work "$work" --round 2
stage finish "$settings" --work "$work" --out "$out" --results "$results"
stage demo --out "$demo"
