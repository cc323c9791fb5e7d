// Opens a notebook in JupyterLab and lets it run: what two of our widgets have in common, put before their code.
// Our notebooks only read when they are run; what applies is the button in them.

const OPENING_MS = 60000;

// JupyterLab runs the command of whatever is clicked that names one; elsewhere nothing answers the click. In a
// notebook that it does not trust it asks first.
function command(root, name, args = {}) {
  const link = document.createElement("a");
  link.setAttribute("data-commandlinker-command", name);
  link.setAttribute("data-commandlinker-args", JSON.stringify(args));
  root.append(link);
  const unanswered = link.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
  link.remove();
  return !unanswered;
}

function tabOf(path) {
  const tabs = document.querySelectorAll(".lm-DockPanel-tabBar .lm-TabBar-tab");
  return [...tabs].find((tab) => tab.title.split("\n").includes(`Path: ${path}`));
}

// The notebook of a path, if its tab is in front; several can be in front, beside each other.
function panelOf(path) {
  const tab = tabOf(path);
  return tab && tab.classList.contains("lm-mod-current") ? document.getElementById(tab.dataset.id) : null;
}

// Lets the tabs of a folder's notebooks begin with a name: JupyterLab shows the name of the file alone, and
// those of all tenants have the same.
function nameTabs(path, name) {
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  const quoted = (text) => `"${text.replace(/["\\]/g, "\\$&")}"`;
  const id = `runbook-tabs-${folder}`;
  const style = document.getElementById(id) || document.createElement("style");
  style.id = id;
  style.textContent =
    `.lm-TabBar-tab[title*=${quoted(`Path: ${folder}`)}] .lm-TabBar-tabLabel::before` +
    ` { content: ${quoted(`${name} · `)}; }`;
  document.head.append(style);
}

// Whether a notebook's kernel is idle. A narrow toolbar has no room to say so: then the status bar does, of the
// notebook that is in front.
function isIdle(panel) {
  const indicator = panel.querySelector(".jp-Notebook-ExecutionIndicator");
  if (indicator) return indicator.dataset.status === "idle";
  return Boolean(document.getElementById("jp-main-statusbar")?.textContent.includes("| Idle"));
}

// With `run`, a notebook that was not open runs as soon as it is in front with a kernel that is idle.
function openFile(root, path, run) {
  const wasOpen = Boolean(tabOf(path));
  if (!command(root, "docmanager:open", { path })) return false;
  if (wasOpen || !run) return true;
  const until = Date.now() + OPENING_MS;
  let idle = 0; // how often it was seen idle: JupyterLab knows a moment later that it trusts the notebook
  // Once more as long as nothing has begun: a kernel that has just been found may not take cells yet.
  const timer = setInterval(() => {
    const panel = panelOf(path);
    const isOver = Date.now() > until || document.querySelector(".jp-Dialog");
    if (isOver) clearInterval(timer);
    if (isOver || !panel) return;
    const prompts = [...panel.querySelectorAll(".jp-CodeCell .jp-InputArea-prompt")];
    if (prompts.some((prompt) => /[*\d]/.test(prompt.textContent))) clearInterval(timer);
    else if (isIdle(panel) && ++idle % 5 === 0) {
      command(panel.querySelector(".jp-Notebook"), "notebook:run-all-cells");
    }
  }, 500);
  return true;
}
