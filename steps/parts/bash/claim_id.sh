# The id of this execution: octowait tells its calls from late ones of another by it.
claim=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
