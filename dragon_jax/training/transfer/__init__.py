"""Transfer: a network that starts from the weights of a finished run, in parts, in stages, or through low-rank additions.

The way of the weights: `config` says what is wanted, `names` what there is, `plan` settles for every weight of the new network
where it comes from and when it learns, `graft` brings the weights over, `view` shows the network to a training step with what is
frozen held still, `adapters` are the low-rank additions, and `trainer` goes through the stages.
"""
