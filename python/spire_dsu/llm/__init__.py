"""What training and evaluation share: prompts, the extended vocabulary, and the two joined to ids.

prompts      which words surround the units, by task and template
vocabulary   which token a unit is
rendering    prompt + units -> token ids, the same ones for training and for evaluation
"""
