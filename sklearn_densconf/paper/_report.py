def write_report(results, study, path):
    path.write_text("x")
