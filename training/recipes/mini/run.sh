#!/usr/bin/env bash
# The road of the paper in miniature, with the commands of the full recipe: text and speech of its own making, a
# language model, the units as its tokens, continued pre-training, instructions, evaluation, one report.
#
#     bash training/recipes/mini/run.sh smoke [WORK]     a few dozen words, minutes on 2 cores
#     bash training/recipes/mini/run.sh full [WORK]      the paper's tables and findings, under 3 hours on 2 cores
#
# Every command goes on where it was stopped; WORK/results/report.html is what comes out. WORK/times.tsv has the
# seconds of each stage, WORK/logs what it said.
set -euo pipefail
size=${1:?which size: smoke or full}
recipe=$(cd "$(dirname "$0")" && pwd)/$size
[ -d "$recipe" ] || { echo "no size '$size': smoke or full" >&2; exit 2; }
work=${2:-scratch/mini-$size}
mkdir -p "$work/logs"
cd "$work"

world() { python -m spire_training.mini.world "$recipe/world.toml" world; }

convert() { # NAME:SPLIT ...
  local corpus
  for corpus in "$@"; do
    spire-dsu convert "corpus:${corpus%%:*}:world/corpora/$corpus" "units/${corpus/://}" --model mini \
      --workers "$workers"
  done
}

translations() { # what the corpora say beside their transcripts
  [ -e units/covost2.de.jsonl ] ||
    spire-dsu train translations corpus:covost2:world/corpora/covost2:train units/covost2.de.jsonl --lang de
}

tower() { # text alone
  [ -e models/llama/config.json ] ||
    python -m spire_training.mini.base "$recipe/base.toml" models/llama world/text/*
  spire-dsu train prepare "$recipe/tower_data.toml"
  spire-dsu train cpt "$recipe/tower_cpt.toml"
}

vocabulary() { # 200 units and ChatML's marks
  [ -e models/tower-units/config.json ] ||
    spire-dsu train extend-vocab runs/tower-base/hf models/tower-units --units 200 --seed 8 --chat
}

spire_base() { # speech and text
  spire-dsu train prepare "$recipe/spire_data.toml"
  spire-dsu train cpt "$recipe/spire_cpt.toml"
}

instruct() { # NAME [SOURCE LEFT OUT ...]: the mixture of a variant, and the variant
  local name=$1 without=()
  shift
  for source in "$@"; do without+=(--without "$source"); done
  [ $# = 0 ] || without+=(--out "data/it-${name#spire-}")
  spire-dsu train prepare "$recipe/it_data.toml" "${without[@]}"
  spire-dsu train it "$recipe/it_${name//-/_}.toml"
}

tower_instruct() { # its translations become the pseudo-labels
  spire-dsu train prepare "$recipe/instruct_data.toml"
  spire-dsu train it "$recipe/it_tower_instruct.toml"
}

pseudo_labels() { spire-dsu train pseudo-label "$recipe/pseudo_label.toml"; }
spire_full() { instruct spire-full; }
tower_full() { instruct tower-full; }
spire_no_blocks() { instruct spire-no-blocks blocks; }
spire_no_pseudo() { instruct spire-no-pseudo pseudo fleurs; }
hubert_ctc() { spire-dsu train ctc "$recipe/ctc.toml"; }
tower_answers() { spire-dsu eval run "$recipe/eval.toml" --only tower-instruct --only tower-full; }
evaluation() { OMP_NUM_THREADS=$(nproc) spire-dsu eval run "$recipe/eval.toml"; }  # it is alone by then
findings() { python -m spire_training.mini.findings .; }

stage() { # runs one of the above: what it says goes to logs, its seconds to times.tsv
  local start=$SECONDS status
  echo "$(date +%H:%M:%S) $1"
  set +e
  (set -e; "$@") >> "logs/$1.log" 2>&1
  status=$?
  set -e
  if [ "$status" != 0 ]; then
    echo "$1 failed; the end of $PWD/logs/$1.log:" >&2
    tail -n 20 "logs/$1.log" | cut -c 1-500 >&2
    return "$status"
  fi
  printf '%s\t%s\n' "$1" $((SECONDS - start)) >> times.tsv
  echo "$(date +%H:%M:%S) $1: $((SECONDS - start)) s"
}

together() { # 'A B' 'C': side by side, B after A
  local list pid status=0
  for list in "$@"; do
    (for one in $list; do stage "$one"; done) &
    jobs_now+=("$!")
  done
  for pid in "${jobs_now[@]}"; do wait "$pid" || status=$?; done
  jobs_now=()
  return "$status"
}

# Each job has a process group of its own, so that an interruption reaches its commands: they stop in good order.
set -m
jobs_now=() clocked=0
clock() { printf 'clock\t%s\n' $((SECONDS - clocked)) >> times.tsv; clocked=$SECONDS; }  # stages overlap, clocks do not
trap clock EXIT
trap 'for pid in "${jobs_now[@]}"; do kill -- "-$pid" 2> /dev/null || true; done; exit 130' INT TERM

case $size in
  smoke)
    workers=$(nproc)
    units() { convert spgispeech:train covost2:train librispeech:test-clean fleurs:test; translations; }
    together 'world units tower vocabulary spire_base spire_full evaluation'
    ;;
  full)
    workers=${OMP_NUM_THREADS:=$((($(nproc) + 1) / 2))}  # two jobs at a time
    export OMP_NUM_THREADS
    units() {
      convert spgispeech:train voxpopuli:train commonvoice:train covost2:train fleurs:train \
        librispeech:test-clean librispeech:test-other fleurs:test covost2:test voxpopuli:test
      translations
      local name
      for name in de:de_de es:es_419; do
        [ -e "units/fleurs.${name%%:*}.jsonl" ] ||
          spire-dsu train translations corpus:fleurs:world/corpora/fleurs:train "units/fleurs.${name%%:*}.jsonl" \
            --lang "${name%%:*}" --sentences "corpus:fleurs:world/corpora/fleurs:train,lang=${name#*:}"
      done
    }
    together world
    together 'tower vocabulary' units
    together spire_base 'tower_instruct pseudo_labels tower_full tower_answers'
    together 'spire_full spire_no_pseudo spire_no_blocks' hubert_ctc
    together evaluation
    clock
    together findings
    ;;
esac
