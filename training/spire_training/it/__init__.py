"""Instruction tuning: packed rows of the stage "it" -> a chat model as a Hugging Face folder.

config       what a run is
rows         a packed row -> model inputs; which rows make a step
loss         per-token loss, over the learned tokens alone
trainer      transformers' Trainer, fed with packed rows
watch        CSV, TensorBoard, progress; stops at a loss that cannot be
checkpoints  which checkpoint is whole, and whose it is
run          the command
axolotl      the same run, for Axolotl
"""
