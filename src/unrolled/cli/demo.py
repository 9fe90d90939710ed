from cyclopts import App
def command(arguments=()): return App(name="demo", help="x")
