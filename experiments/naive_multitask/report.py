def write_tables(*a):
    return "later"
