"""How fast dialgate is, each figure beside a yardstick that ran in the same minute."""
