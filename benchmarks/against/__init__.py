"""The parts of `benchmarks/peers.py`: what is attacked (`subject`), what everybody is handed (`contest`), how cost is
counted (`meter`), who attacks (`libraries`), one row's numbers (`measured`), child processes and what is kept (`jobs`),
the five comparisons (`strength`, `minimum`, `ensemble`, `violations`, `speed`), and the page (`page`)."""
