#!/usr/bin/env bash
# The whole road at the paper's scale, in order. Each command goes on where it was stopped, so the script can be
# started again at any time; name stages to run only those:   bash run.sh convert vocabulary data cpt ...
#
# Run it where the data is (README.md says what lies where): SPIRE_GPUS=8 bash .../recipes/spire/run.sh
set -euo pipefail
recipe=$(cd "$(dirname "$0")" && pwd)
gpus=${SPIRE_GPUS:-8}
corpora=${SPIRE_CORPORA:-corpora}
tower_base=${SPIRE_TOWER_BASE:-models/TowerBase-7B-v0.1}

convert() { # speech -> units, once for all that follows
  local unit
  while read -r unit corpus; do
    spire-dsu convert "corpus:$corpus" "units/$unit" --model spire --workers "$gpus"
    spire-dsu verify "units/$unit"
  done <<LIST
spgi             spgispeech:$corpora/spgispeech:train
gigaspeech       gigaspeech:$corpora/gigaspeech:XL
mls              mls:$corpora/mls_english:train
voxpopuli        voxpopuli:$corpora/voxpopuli:train
commonvoice      commonvoice:$corpora/cv-corpus-18.0:train
fleurs           fleurs:$corpora/fleurs:train
covost2          covost2:$corpora/cv-corpus-4/en:train,target=zh-CN
europarl-st/de   europarl-st:$corpora/europarl-st:train,target=de
europarl-st/es   europarl-st:$corpora/europarl-st:train,target=es
europarl-st/fr   europarl-st:$corpora/europarl-st:train,target=fr
europarl-st/it   europarl-st:$corpora/europarl-st:train,target=it
europarl-st/nl   europarl-st:$corpora/europarl-st:train,target=nl
europarl-st/pt   europarl-st:$corpora/europarl-st:train,target=pt
LIST
}

translations() { # what the corpora say beside their transcripts
  local code name
  mkdir -p text
  spire-dsu train translations "corpus:covost2:$corpora/cv-corpus-4/en:train,target=zh-CN" text/covost2.zh.jsonl --lang zh
  for code in de es fr it nl pt; do
    spire-dsu train translations "corpus:europarl-st:$corpora/europarl-st:train,target=$code" \
      "text/europarl-st.$code.jsonl" --lang "$code"
  done
  for name in de:de_de es:es_419 fr:fr_fr it:it_it ko:ko_kr nl:nl_nl pt:pt_br ru:ru_ru zh:cmn_hans_cn; do
    code=${name%%:*}
    spire-dsu train translations "corpus:fleurs:$corpora/fleurs:train" "text/fleurs.$code.jsonl" --lang "$code" \
      --sentences "corpus:fleurs:$corpora/fleurs:train,lang=${name#*:}"
  done
  cat text/fleurs.??.jsonl > text/fleurs.jsonl
}

vocabulary() { # 5,000 units and ChatML's marks at the released ids
  [ -e towerbase-7b-units/config.json ] ||
    spire-dsu train extend-vocab "$tower_base" towerbase-7b-units --units 5000 --seed 42 --chat
}

cpt() { # SpireBase
  spire-dsu train prepare "$recipe/cpt_data.toml" --workers 16
  spire-dsu train cpt "$recipe/cpt.toml" --nproc "$gpus"
}

pseudo() { # translations of transcripts, by TowerInstruct-13B
  spire-dsu train pseudo-label "$recipe/pseudo_label.toml"
}

it() { # SpireFull and the variants of table 8
  local variant
  spire-dsu train prepare "$recipe/it_data.toml" --workers 16
  spire-dsu train prepare "$recipe/it_data.toml" --workers 16 --without towerblocks --out data/it-no-blocks
  spire-dsu train prepare "$recipe/it_data.toml" --workers 16 --without pseudo --without fleurs --out data/it-no-pseudo
  for variant in spire_full tower_full spire_no_blocks spire_no_pseudo; do
    torchrun --nproc-per-node "$gpus" -m spire_dsu.cli train it "$recipe/it_$variant.toml"
  done
}

ctc() { # the baseline of appendix B
  torchrun --nproc-per-node "$gpus" -m spire_dsu.cli train ctc "$recipe/ctc.toml"
}

evaluate() { # tables 2 to 9, 11 and 12
  spire-dsu eval run "$recipe/../../../evaluation/recipes/spire.toml"
}

for stage in "${@:-convert translations vocabulary cpt pseudo it ctc evaluate}"; do
  for one in $stage; do "$one"; done
done
