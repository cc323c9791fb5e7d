// Opens a notebook in JupyterLab and lets it run: what two of our widgets have in common, put before their code.
// Our notebooks only read when they are run; what applies is the button in them.

const OPENING_MS = 60000;

// JupyterLab runs the command of whatever is clicked that names one; elsewhere nothing answers the click.
function command(root, name, args = {}) {
  const link = document.createElement("a");
  link.setAttribute("data-commandlinker-command", name);
  link.setAttribute("data-commandlinker-args", JSON.stringify(args));
  root.append(link);
  const unanswered = link.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
  link.remove();
  return !unanswered;
}

function tabOf(path, state = "") {
  const tabs = document.querySelectorAll(`.lm-DockPanel-tabBar .lm-TabBar-tab${state}`);
  return [...tabs].find((tab) => tab.title.split("\n").includes(`Path: ${path}`));
}

// A notebook that was not open runs as soon as it is in front with a kernel that is idle.
function openFile(root, path) {
  const wasOpen = Boolean(tabOf(path));
  if (!command(root, "docmanager:open", { path })) return false;
  if (wasOpen || !path.endsWith(".ipynb")) return true;
  const until = Date.now() + OPENING_MS;
  const timer = setInterval(() => {
    const panel = document.querySelector(".jp-NotebookPanel:not(.lm-mod-hidden)");
    const isIdle = panel?.querySelector('.jp-Notebook-ExecutionIndicator[data-status="idle"]');
    const isInFront = Boolean(tabOf(path, ".lm-mod-current"));
    if (Date.now() > until || (isInFront && isIdle)) clearInterval(timer);
    if (isInFront && isIdle) command(panel, "notebook:run-all-cells");
  }, 250);
  return true;
}
