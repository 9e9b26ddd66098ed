#!/usr/bin/env bash
# The road of the paper in miniature, with the commands of the full recipe: text and speech of its own making, a
# language model, the units as its tokens, continued pre-training, instructions, evaluation, one report.
#
#     bash training/recipes/mini/run.sh smoke [WORK]      a few dozen words, minutes on 2 cores
#
# Every command goes on where it was stopped; WORK/results/report.html is what comes out.
set -euo pipefail
recipe=$(cd "$(dirname "$0")" && pwd)/${1:?which size: smoke}
work=${2:-scratch/mini-$1}
mkdir -p "$work"
cd "$work"

python -m spire_training.mini.world "$recipe/world.toml" world

for corpus in spgispeech:train covost2:train librispeech:test-clean fleurs:test; do
  name=${corpus%%:*}
  spire-dsu convert "corpus:$name:world/corpora/$corpus" "units/$name" --model mini
done
[ -e units/covost2.de.jsonl ] ||
  spire-dsu train translations corpus:covost2:world/corpora/covost2:train units/covost2.de.jsonl --lang de

# Tower: text alone.
[ -e models/llama/config.json ] || python -m spire_training.mini.base "$recipe/base.toml" models/llama world/text/mono.*.txt
spire-dsu train prepare "$recipe/tower_data.toml"
spire-dsu train cpt "$recipe/tower_cpt.toml"

# Spire: the units as tokens, speech and text, then instructions.
[ -e models/tower-units/config.json ] ||
  spire-dsu train extend-vocab runs/tower-base/hf models/tower-units --units 200 --seed 8 --chat
spire-dsu train prepare "$recipe/spire_data.toml"
spire-dsu train cpt "$recipe/spire_cpt.toml"
spire-dsu train prepare "$recipe/it_data.toml"
spire-dsu train it "$recipe/it.toml"

spire-dsu eval run "$recipe/eval.toml"
