"""The whole cluster on one thread, from one seed: `dialgate simulate`.

It stands above the programs and is the one package that imports them all, because it drives their
cores; nothing imports it but tests.  `simulator.world` puts a cluster together, `simulator.faults`
breaks it, `simulator.invariants` watches it, `simulator.history` judges what came of it.
"""
