// A tenant's parameters as a form. Fields, values and problems come from the kernel, as the value `view`; what is
// typed goes there piece by piece, and comes back as what is wrong with it and as the lines that would be written.

const PAUSE_MS = 350;

const at = (values, path) => path.reduce((place, part) => (place == null ? undefined : place[part]), values);
const key = (path) => JSON.stringify(path);

function render({ model, el }) {
  const banner = element("div", { class: "banner" });
  const lost = element("p", { class: "said lost", role: "alert" });
  const prefix = `parameters-${Math.random().toString(36).slice(2)}`;
  const site = element("select", { class: "site" });
  const tenant = element("select", { class: "tenant" });
  const mode = element("select", { class: "mode" });
  const open = element("button", { type: "button", class: "open" }, "Open its notebooks");
  const newName = element("input", { type: "text", class: "new-name", autocomplete: "off", spellcheck: "false" });
  const example = element("select", { class: "example" });
  const create = element("button", { type: "button", class: "create" }, "Begin a new tenant");
  const said = element("p", { class: "said", role: "alert" });
  const title = element("h2", { tabindex: "-1" });
  const problems = element("ul", { class: "problems" });
  const form = element("fieldset", { class: "fields", "aria-label": "Parameters" });
  const compare = element("button", { type: "button", class: "compare" }, "Show the difference");
  const reload = element("button", { type: "button", class: "reload" }, "Discard, and read the file again");
  const difference = element("pre", { class: "difference", tabindex: "0", "aria-label": "What would be written" });
  const save = element("button", { type: "button", class: "save" }, "Write the file");
  const spoken = element("div", { role: "status", "aria-live": "polite", class: "status" });
  const label = (text, input) => {
    input.id = `${prefix}-${text.replaceAll(" ", "-")}`;
    return element("div", { class: "labelled" }, element("label", { for: input.id }, text), input);
  };
  const root = element(
    "section",
    { class: "form", "aria-label": "Parameters of a tenant", "data-lm-suppress-shortcuts": "true" },
    banner,
    lost,
    element("div", { class: "line" }, label("Site", site), label("Tenant", tenant), label("Mode", mode), open),
    element(
      "details",
      { class: "new" },
      element("summary", {}, "New tenant"),
      element("div", { class: "line" }, label("Its name", newName), label("From the example", example), create),
    ),
    said,
    title,
    problems,
    form,
    element("div", { class: "line" }, compare, reload),
    difference,
    save,
    spoken,
  );
  el.classList.add("runbook-parameters");
  el.append(root);

  let shape = null; // which fields are drawn
  let drawn = ""; // of which file
  let unfolded = new Set(); // the groups of it that somebody opened
  let inputs = new Map(); // by path: the input and where its problem stands
  const waiting = new Map(); // by path: an edit that is about to be sent
  let asked = null; // what was asked that may show other fields; until it is answered, nothing can be typed
  let asks = 0;
  let focusNext = null; // where the focus goes when the fields have been drawn again

  const view = () => model.get("view");

  function options(select, values, chosen) {
    select.replaceChildren(
      ...values.map(({ value, text }) => {
        const option = element("option", { value }, text);
        option.selected = value === chosen;
        return option;
      }),
    );
  }

  function edit(path, value, now = false) {
    const name = key(path);
    const typedFor = { file: view().tenant, shape: view().shape }; // whatever is shown when it is sent
    clearTimeout(waiting.get(name)?.timer);
    const send = () => {
      waiting.delete(name);
      model.send({ do: "set", ...typedFor, path, value });
    };
    difference.hidden = save.hidden = true; // it was of what stood here before
    if (now) send();
    else waiting.set(name, { timer: setTimeout(send, PAUSE_MS), send });
  }

  function settle() {
    for (const { timer, send } of [...waiting.values()]) {
      clearTimeout(timer);
      send();
    }
  }

  // What may show other fields: what is typed before it has would be lost, or be for another row.
  function ask(content, next) {
    settle();
    focusNext = next;
    asked = `${prefix}-${(asks += 1)}`;
    model.send({ ...content, ask: asked });
    tellBusy();
  }

  const isLost = () => model.comm_live === false;

  function tellBusy() {
    const busy = asked !== null || isLost();
    form.disabled = busy;
    root.setAttribute("aria-busy", String(asked !== null && !isLost()));
    for (const control of [site, tenant, create, compare, reload, save]) control.disabled = busy;
    lost.textContent = isLost() ? "There is no kernel, so what is typed here is not kept. Run all cells again." : "";
  }

  function forget() {
    for (const { timer } of waiting.values()) clearTimeout(timer);
    waiting.clear();
  }

  function input(field, value, path) {
    const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
    if (field.kind === "switch") {
      const select = element("select");
      const standard = field.default ? `${field.default} (default)` : "off (default)";
      const chosen = value === true ? "on" : value === false ? "off" : "";
      options(select, [{ value: "", text: standard }, { value: "on", text: "on" }, { value: "off", text: "off" }], chosen);
      select.addEventListener("change", () => edit(path, { on: true, off: false }[select.value] ?? null, true));
      return select;
    }
    if (field.kind === "choice") {
      const select = element("select");
      const none = { value: "", text: field.default ? `${field.default} (default)` : "—" };
      const known = field.choices.map((choice) => ({ value: choice, text: choice }));
      if (value && !field.choices.includes(value)) known.push({ value, text: value });
      options(select, [none, ...known], value ?? "");
      select.addEventListener("change", () => edit(path, select.value || null, true));
      return select;
    }
    if (field.kind === "texts") {
      const area = element("textarea", { rows: "2", spellcheck: "false" });
      area.value = Array.isArray(value) ? (value.length ? value.join("\n") : "[]") : (value ?? "");
      area.placeholder = field.default;
      // Of some lists it matters whether they are said to be empty.
      const read = () => (area.value.trim() === "[]" ? [] : lines(area.value));
      area.addEventListener("input", () => edit(path, area.value.trim() ? read() : null));
      return area;
    }
    if (field.kind === "pairs") {
      const area = element("textarea", { rows: "3", spellcheck: "false" });
      area.value = Object.entries(value ?? {}).map(([name, text]) => `${name}: ${text}`).join("\n");
      const read = () =>
        Object.fromEntries(
          lines(area.value).map((line) => [line.split(":")[0].trim(), line.split(":").slice(1).join(":").trim()]),
        );
      area.addEventListener("input", () => edit(path, area.value.trim() ? read() : null));
      return area;
    }
    const text = element("input", { type: "text", autocomplete: "off", spellcheck: "false" });
    text.value = value ?? "";
    text.placeholder = field.kind === "reference" ? "env:NAME, file:PATH or keyring:SERVICE/USER" : field.default;
    if (field.kind === "number") text.inputMode = "numeric";
    text.addEventListener("input", () => {
      const typed = text.value.trim();
      const whole = field.kind === "number" && /^-?\d{1,15}$/.test(typed);
      edit(path, typed === "" ? null : whole ? Number(typed) : text.value);
    });
    return text;
  }

  function single(field, values, path) {
    const id = `${prefix}-${inputs.size}`;
    const made = input(field, at(values, path), path);
    const why = (path.length === 1 && view().fixed[field.name]) || "";
    made.readOnly = Boolean(why);
    made.id = id;
    made.dataset.path = path.join(".");
    made.setAttribute("aria-describedby", `${id}-help ${id}-problem`);
    if (field.required) made.required = true;
    const problem = element("p", { class: "problem", id: `${id}-problem` });
    const how = { texts: "One in a line; [] for none.", pairs: "One in a line, with a colon between.", reference: "A reference, never the secret itself." };
    const unit = [field.unit, field.default && !["switch", "choice"].includes(field.kind) ? `default ${field.default}` : ""];
    const help = [field.meaning, why, how[field.kind] ?? "", unit.filter(Boolean).join("; ")].filter(Boolean).join(" ");
    inputs.set(key(path), { input: made, problem });
    return element(
      "div",
      { class: "field" },
      element("label", { for: id }, field.name + (field.required ? " (required)" : "")),
      made,
      element("p", { class: "help", id: `${id}-help` }, help),
      problem,
    );
  }

  function many(field, values, path) {
    const rows = at(values, path) ?? [];
    const parts = rows.map((_, index) => {
      const remove = element("button", { type: "button", class: "remove" }, `Remove ${field.name} ${index + 1}`);
      remove.addEventListener("click", () => {
        const next = () => inputs.get(key(path))?.input;
        ask({ do: "remove", file: view().tenant, shape: view().shape, path, index }, next);
      });
      const inner = field.fields.map((part) => draw(part, values, [...path, index, part.name]));
      return element("fieldset", {}, element("legend", {}, `${field.name} ${index + 1}`), ...inner, remove);
    });
    const add = element("button", { type: "button", class: "add" }, `Add to ${field.name}`);
    add.addEventListener("click", () => {
      const next = () => inputs.get(key([...path, rows.length, field.fields[0].name]))?.input;
      ask({ do: "add", file: view().tenant, shape: view().shape, path }, next);
    });
    const problem = element("p", { class: "problem" });
    inputs.set(key(path), { input: add, problem });
    return element("div", { class: "many" }, element("p", { class: "help" }, `${field.name}: ${field.meaning}`), problem, ...parts, add);
  }

  function draw(field, values, path) {
    if (field.kind === "rows") return many(field, values, path);
    if (field.kind !== "group") return single(field, values, path);
    const inner = field.fields.map((part) => draw(part, values, [...path, part.name]));
    const problem = element("p", { class: "problem" });
    const group = element(
      "details",
      { class: "group" },
      element("summary", {}, field.name),
      element("p", { class: "help" }, field.meaning),
      problem,
      ...inner,
    );
    group.dataset.group = key(path);
    group.open = at(values, path) != null || unfolded.has(key(path));
    inputs.set(key(path), { input: null, problem });
    return group;
  }

  function tellProblems() {
    const shown = view();
    for (const { input: made, problem } of inputs.values()) {
      problem.textContent = "";
      made?.removeAttribute("aria-invalid");
    }
    const elsewhere = [];
    for (const { text, path } of shown.problems) {
      let place = [...path];
      while (place.length && !inputs.has(key(place))) place = place.slice(0, -1);
      const found = place.length ? inputs.get(key(place)) : null;
      if (!found) {
        elsewhere.push(text);
        continue;
      }
      found.problem.textContent = [found.problem.textContent, text].filter(Boolean).join(" · ");
      found.input?.setAttribute("aria-invalid", "true");
      for (let group = found.problem.closest("details"); group; group = group.parentElement.closest("details")) group.open = true;
    }
    problems.replaceChildren(...elsewhere.map((text) => element("li", {}, text)));
    problems.hidden = !elsewhere.length;
    if (spoken.textContent !== shown.status) spoken.textContent = shown.status;
  }

  function show() {
    const shown = view();
    const isAnswered = asked !== null && asked === shown.answered;
    if (isAnswered) asked = null;
    banner.textContent = shown.banner;
    banner.dataset.target = shown.target;
    options(site, shown.sites, shown.site);
    options(tenant, shown.tenants, shown.tenant);
    options(mode, shown.modes, shown.mode);
    if (!example.options.length) options(example, shown.examples, shown.examples[0]?.value);
    title.textContent = shown.title;
    title.hidden = compare.hidden = reload.hidden = !shown.fields.length;
    open.hidden = !shown.can_open;
    said.textContent = shown.said;
    if (shape !== shown.shape) {
      shape = shown.shape;
      const groups = drawn === shown.title ? form.querySelectorAll("details.group[open]") : [];
      unfolded = new Set([...groups].map((group) => group.dataset.group));
      drawn = shown.title;
      const held = root.contains(document.activeElement) ? document.activeElement.dataset.path : null;
      inputs = new Map();
      form.replaceChildren(...shown.fields.map((field) => draw(field, shown.values, [field.name])));
      tellBusy();
      if (held) form.querySelector(`[data-path="${held}"]`)?.focus();
    }
    tellBusy();
    if (isAnswered) focusNext?.()?.focus();
    tellProblems();
    difference.hidden = !shown.difference.length;
    difference.replaceChildren(
      ...shown.difference.map((line) =>
        element("span", { class: line.startsWith("+") ? "added" : line.startsWith("-") ? "removed" : "" }, `${line}\n`),
      ),
    );
    save.hidden = !shown.can_save;
  }

  site.addEventListener("change", () => ask({ do: "site", site: site.value }, () => site));
  tenant.addEventListener("change", () => ask({ do: "tenant", tenant: tenant.value }, () => tenant));
  mode.addEventListener("change", () => model.send({ do: "mode", mode: mode.value }));
  open.addEventListener("click", () => model.send({ do: "open" }));
  create.addEventListener("click", () => {
    const next = () => (view().said ? create : title);
    ask({ do: "new", name: newName.value.trim(), example: example.value }, next);
  });
  compare.addEventListener("click", () => {
    settle();
    model.send({ do: "compare" });
  });
  reload.addEventListener("click", () => {
    forget();
    ask({ do: "reload" }, () => title);
  });
  save.addEventListener("click", () => {
    settle();
    model.send({ do: "save", offer: view().offer });
  });
  model.on("change:view", show);
  model.on("comm_live_update", tellBusy);
  model.on("msg:custom", (content) => {
    if (content.open) openFile(root, content.open, content.run);
  });
  show();
  return () => {
    forget();
    model.off("change:view", show);
    model.off("comm_live_update", tellBusy);
  };
}

export default { render };
