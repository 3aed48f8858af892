def page(record):
    return "\n".join(f"{c.server} {c.model} {c.rows} {c.load} {c.requests} {c.per_second:.0f}/s mean {c.mean_us:.0f} p50 {c.p50_us:.0f} p99 {c.p99_us:.0f} cpu {c.cpu_us:.0f} {c.shares[:4]}" for c in record.cells)+"\n"+"\n".join(map(str,[*record.starts,*record.limits]))+"\n"+str(record.left_out)
