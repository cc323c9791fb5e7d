// The home page's table of tenants by section. All that it says comes from the kernel, as the value `view`.
// Without a sign of life from the kernel it says so.

const SILENT_MS = 8000;
// How often the page says that it is still there: without it, the kernel reads nothing by itself.
const HERE_MS = 20000;

function render({ model, el }) {
  const sites = element("select", { class: "site" });
  const siteLabel = element("label", { class: "sites" }, element("span", {}, "Site"), sites);
  const refresh = element("button", { class: "refresh", type: "button" }, "Refresh");
  const authors = element("button", { class: "authors", type: "button" });
  const fresh = element("button", { class: "new", type: "button" }, "New tenant");
  const bar = element("progress", { "aria-label": "Tenants read" });
  const count = element("span", { class: "count" });
  const banner = element("div", { class: "banner" });
  const caption = element("caption");
  // The roles are said in so many words: where the page is narrow, its rows are no longer laid out as a table.
  const head = element("thead", { role: "rowgroup" });
  const body = element("tbody", { role: "rowgroup" });
  const table = element("table", { role: "grid", "aria-readonly": "true" }, caption, head, body);
  const scroll = element("div", { class: "scroll" }, table);
  const about = element("p", { class: "about" });
  const notes = element("ul", { class: "notes" });
  const said = element("p", { class: "said", role: "alert" });
  const lost = element("p", { class: "lost", role: "alert" });
  // It lasts, so that a screen reader hears each change of it.
  const spoken = element("div", { role: "status", "aria-live": "polite", class: "spoken" });
  const line = element("div", { class: "line" }, siteLabel, refresh, authors, fresh, bar, count);
  const root = element("section", { class: "board", "data-lm-suppress-shortcuts": "true", "aria-label": "Tenants by section" });
  root.append(banner, line, notes, scroll, about, said, lost, spoken);
  el.classList.add("runbook-board");
  el.append(root);

  let heard = Date.now();
  let at = [0, 0]; // the cell that the Tab key reaches; arrows move among the others

  const view = () => model.get("view");
  const isLost = () => model.comm_live === false || Date.now() - heard > SILENT_MS;
  const buttons = () => [...body.querySelectorAll("tr:not(.detail)")].map((row) => [...row.querySelectorAll("button, .none")]);

  function tell() {
    lost.hidden = !isLost();
    if (isLost() && !lost.textContent) {
      lost.textContent = `No answer from the kernel since ${utc(heard)}: this table shows what was known then. Run all cells again.`;
    }
    if (!isLost()) lost.textContent = "";
    root.dataset.lost = String(isLost());
    refresh.disabled = isLost() || view().reading;
    authors.disabled = isLost() || view().reading || view().looking_up;
    fresh.disabled = isLost();
    sites.disabled = isLost();
  }

  // A section's state; `null` where the section does not apply, `undefined` while it is being read.
  function cell(row, part, number) {
    if (!part) {
      const [sign, words] = part === null ? ["—", "does not apply"] : ["…", "being read"];
      const about = `${row.name}, section ${number}: ${words}`;
      const none = element("span", { class: "none", role: "img", tabindex: "-1", "aria-label": about }, sign);
      return element("td", { role: "gridcell" }, none);
    }
    const symbol = element("span", { class: "symbol", "aria-hidden": "true" }, part.symbol);
    const button = element(
      "button",
      { type: "button", class: "cell", tabindex: "-1", "data-tone": part.tone, title: part.about },
      element("span", { class: "number", "aria-hidden": "true" }, number),
      symbol,
      element("span", { class: "word" }, part.state),
    );
    button.setAttribute("aria-label", part.about);
    button.addEventListener("click", () => model.send({ do: "open", name: row.name, section: number }));
    return element("td", { role: "gridcell" }, button);
  }

  function fileCell(row) {
    const edit = element("button", { type: "button", class: "edit", tabindex: "-1" }, "edit");
    edit.setAttribute("aria-label", `Edit the parameters of ${row.name}`);
    edit.addEventListener("click", () => model.send({ do: "open", name: row.name, section: "parameters" }));
    const none = element("span", { class: "none", role: "img", tabindex: "-1" }, "—");
    none.setAttribute("aria-label", `${row.name} has no file of its own`);
    return element("td", { role: "gridcell" }, row.has_file ? edit : none);
  }

  function showTable({ columns, rows, caption: words }) {
    const held = body.contains(document.activeElement);
    caption.textContent = words;
    head.replaceChildren(
      element(
        "tr",
        { role: "row" },
        element("th", { scope: "col", role: "columnheader" }, "Tenant"),
        ...columns.map(({ number, title }) =>
          element("th", { scope: "col", role: "columnheader" }, number, element("span", { class: "title" }, title)),
        ),
        element("th", { scope: "col", role: "columnheader" }, "File"),
      ),
    );
    body.replaceChildren(
      ...rows.flatMap((row) => {
        const name = element("button", { type: "button", class: "name", tabindex: "-1", title: row.about }, row.name);
        name.addEventListener("click", () => model.send({ do: "open", name: row.name, section: "" }));
        const first = element("th", { scope: "row", role: "rowheader" }, name);
        if (row.running) first.append(element("span", { class: "running" }, `▶ ${row.running}`));
        const cells = columns.map(({ number }) => cell(row, row.cells ? (row.cells[number] ?? null) : undefined, number));
        const line = element("tr", { role: "row" }, first, ...cells, fileCell(row));
        if (!row.error.length) return [line];
        const words = row.error.map((part) => element("div", {}, part));
        const detail = element("td", { role: "gridcell", colspan: String(2 + columns.length) }, ...words);
        return [line, element("tr", { role: "row", class: "detail" }, detail)];
      }),
    );
    reach(held);
  }

  function reach(focus) {
    const all = buttons();
    if (!all.length) return;
    at = [Math.min(at[0], all.length - 1), Math.min(at[1], all[0].length - 1)];
    for (const found of all.flat()) found.tabIndex = -1;
    const found = all[at[0]][at[1]];
    found.tabIndex = 0;
    if (focus) found.focus();
  }

  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  body.addEventListener("keydown", (event) => {
    const all = buttons();
    let [row, column] = at;
    if (event.key in MOVES) [row, column] = [row + MOVES[event.key][0], column + MOVES[event.key][1]];
    else if (event.key === "Home") column = 0;
    else if (event.key === "End") column = all[0].length - 1;
    else if (event.key === "PageUp") row -= 10;
    else if (event.key === "PageDown") row += 10;
    else return;
    event.preventDefault();
    at = [Math.max(0, Math.min(row, all.length - 1)), Math.max(0, Math.min(column, all[0].length - 1))];
    reach(true);
  });
  body.addEventListener("focusin", (event) => {
    buttons().forEach((row, y) => row.forEach((found, x) => {
      if (found === event.target) at = [y, x];
    }));
  });

  function show() {
    const shown = view();
    banner.textContent = shown.banner;
    banner.dataset.target = shown.target;
    const options = JSON.stringify(shown.sites);
    if (sites.dataset.options !== options) {
      sites.dataset.options = options;
      sites.replaceChildren(...shown.sites.map(({ value, label }) => element("option", { value }, label)));
    }
    sites.value = shown.site;
    authors.textContent = shown.look_up;
    bar.max = Math.max(1, shown.total);
    bar.value = shown.done;
    bar.hidden = !shown.reading;
    count.textContent = shown.count;
    notes.replaceChildren(...shown.notes.map((note) => element("li", {}, note)));
    notes.hidden = !shown.notes.length;
    scroll.hidden = !shown.rows.length;
    about.hidden = !shown.rows.length;
    about.textContent = shown.about;
    showTable(shown);
    if (spoken.textContent !== shown.spoken) spoken.textContent = shown.spoken;
    tell();
  }

  refresh.addEventListener("click", () => model.send({ do: "refresh" }));
  authors.addEventListener("click", () => model.send({ do: "differences" }));
  fresh.addEventListener("click", () => model.send({ do: "new" }));
  sites.addEventListener("change", () => model.send({ do: "site", site: sites.value }));
  model.on("change:view", show);
  model.on("change:beat", () => {
    heard = Date.now();
    tell();
  });
  model.on("comm_live_update", tell);
  const answered = ({ open, run, said: words, name }) => {
    said.textContent = words || "";
    if (open && name) nameTabs(open, name);
    if (open && !openFile(root, open, run)) said.textContent = `Open ${open}`;
  };
  model.on("msg:custom", answered);
  const timer = setInterval(tell, 1000);
  const here = () => isLost() || model.send({ do: "here" });
  const presence = setInterval(here, HERE_MS);
  document.addEventListener("visibilitychange", here);
  show();
  return () => {
    clearInterval(timer);
    clearInterval(presence);
    document.removeEventListener("visibilitychange", here);
    model.off("change:view", show);
    model.off("msg:custom", answered);
  };
}

export default { render };
