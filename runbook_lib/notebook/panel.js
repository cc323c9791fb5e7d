// The apply form and the state of a run. All that it says comes from the kernel, as the value `view`; what is
// typed and ticked stays here until Apply. Without a sign of life from the kernel it says so, and offers nothing.

const SILENT_MS = 5000;
const SEEN = new WeakSet(); // the forms that were brought into view, once each

function labelled(label, input, wide = false) {
  return element("label", { class: wide ? "field wide" : "field" }, element("span", {}, label), input);
}

function render({ model, el }) {
  const text = (attributes) => element("input", { type: "text", autocomplete: "off", ...attributes });
  const box = element("div", { class: "box" });
  const name = text({ spellcheck: "false", class: "name" });
  const nameLabel = labelled("", name);
  const ticket = text({ class: "ticket" });
  const reason = text({ class: "reason" });
  const tick = element("input", { type: "checkbox" });
  const tickText = element("span");
  const permission = element("label", { class: "permission" }, tick, tickText);
  const apply = element("button", { class: "apply", type: "button" }, "Apply");
  const refused = element("p", { class: "refused", role: "alert" });
  const fields = element(
    "div",
    { class: "fields" },
    permission,
    element("div", { class: "line" }, labelled("Ticket", ticket), labelled("Reason", reason, true)),
    element("div", { class: "line" }, nameLabel, apply),
    refused,
  );
  const heading = element("strong");
  const clock = element("span", { class: "clock", "aria-hidden": "true" });
  const phases = element("ol", { class: "phases" });
  const details = element("div", { class: "details" });
  const cancel = element("button", { class: "cancel", type: "button" }, "Cancel");
  const run = element(
    "div",
    { class: "run", tabindex: "-1" },
    element("div", { class: "title" }, heading, clock),
    phases,
    details,
    cancel,
  );
  // It lasts, so that a screen reader hears each change of it.
  const spoken = element("div", { role: "status", "aria-live": "polite", class: "spoken" });
  const lost = element("p", { class: "lost", role: "alert" });
  const root = element("section", { class: "panel", tabindex: "-1", "data-lm-suppress-shortcuts": "true" });
  root.append(box, fields, run, lost, spoken);
  el.classList.add("runbook-panel");
  el.append(root);

  let heard = Date.now();
  let pressed = false; // Apply was pressed, and the kernel has not answered yet

  const view = () => model.get("view");
  const isLost = () => model.comm_live === false || Date.now() - heard > SILENT_MS;

  function say(words) {
    if (spoken.textContent !== words) spoken.textContent = words;
  }

  function showRun(shown) {
    run.hidden = !shown?.shown;
    if (shown) say(shown.spoken);
    if (run.hidden) {
      for (const part of [heading, phases, details]) part.replaceChildren();
      return;
    }
    run.dataset.tone = shown.tone;
    heading.textContent = shown.title;
    phases.replaceChildren(
      ...shown.phases.map(({ words, state }) =>
        element("li", state === "now" ? { "data-state": state, "aria-current": "step" } : { "data-state": state }, words),
      ),
    );
    phases.hidden = !shown.phases.length;
    details.replaceChildren(...shown.lines.map((line) => element("div", {}, line)));
    // A button that is disabled loses the focus, so this one only says so.
    cancel.setAttribute("aria-disabled", String(shown.cancelling));
    cancel.textContent = shown.cancelling ? "Cancelling …" : "Cancel";
  }

  function mayApply() {
    const { form } = view();
    return Boolean(form) && !pressed && !isLost() && name.value.trim() === form.name && (!form.permission || tick.checked);
  }

  function tell() {
    const shown = view().run;
    clock.textContent =
      shown && shown.running && shown.since && !isLost() ? ` ${Math.max(0, Math.round(Date.now() / 1000 - shown.since))} s` : "";
    lost.hidden = !isLost();
    cancel.hidden = !shown?.can_cancel || isLost();
    if (isLost() && !lost.textContent) {
      lost.textContent =
        `No answer from the kernel since ${utc(heard)}: this form shows what was known then.` +
        (shown && shown.running ? " The run itself is not affected." : "") +
        " Run all cells again: they find a run that is in flight.";
    }
    if (!isLost()) lost.textContent = "";
    root.dataset.lost = String(isLost());
    apply.disabled = !mayApply();
    for (const input of [name, ticket, reason, tick]) input.disabled = pressed || isLost();
  }

  function show() {
    const { box: boxed, form, run: shown, refused: why } = view();
    box.innerHTML = boxed; // made and escaped by the kernel, as everything that a cell shows
    const held = root.contains(document.activeElement);
    const hadForm = !fields.hidden;
    if (shown && shown.running) pressed = false;
    if (why) pressed = false;
    fields.hidden = !form || Boolean(shown && shown.running);
    if (form) {
      nameLabel.firstChild.textContent = `Type ${form.name}`;
      permission.hidden = !form.permission;
      tickText.textContent = form.permission;
      ticket.required = form.needs_ticket;
      if (form.offer !== root.dataset.offer) {
        root.dataset.offer = form.offer;
        name.value = ""; // what was typed was for another plan
        tick.checked = false;
        pressed = false;
      }
    }
    refused.textContent = why || "";
    showRun(shown);
    tell();
    // The focus stays in the form: where it was is gone or disabled.
    if (held && (hadForm || document.activeElement === document.body) && shown && shown.running && !cancel.hidden) {
      cancel.focus();
    } else if (held && !canHaveFocus(document.activeElement)) {
      (run.hidden ? root : run).focus();
    }
  }

  // What was just hidden or disabled may still be the active element until the page is drawn.
  function canHaveFocus(active) {
    return root.contains(active) && active.getClientRects().length > 0 && !active.disabled;
  }

  function press() {
    if (!mayApply()) return;
    pressed = true;
    const typed = { name: name.value.trim(), ticket: ticket.value.trim(), reason: reason.value.trim() };
    model.send({ do: "apply", offer: view().form.offer, permission: tick.checked, ...typed });
    showRun({
      shown: true, title: "Starting …", tone: "info", phases: [], lines: [], can_cancel: false, cancelling: false,
      spoken: "Apply was pressed.",
    });
    run.focus();
    tell();
  }

  apply.addEventListener("click", press);
  name.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault(); // only the button applies
  });
  cancel.addEventListener("click", () => {
    if (cancel.getAttribute("aria-disabled") !== "true" && !isLost()) model.send({ do: "cancel" });
  });
  for (const input of [name, tick]) input.addEventListener("input", tell);
  model.on("change:view", show);
  model.on("change:beat", () => {
    heard = Date.now();
    tell();
  });
  model.on("comm_live_update", tell);
  const timer = setInterval(tell, 500);
  show();
  // After Run All, JupyterLab shows the last cell: what there is to decide is here.
  if (view().form && !SEEN.has(model)) {
    SEEN.add(model);
    requestAnimationFrame(() => el.closest(".jp-Cell")?.scrollIntoView({ block: "end" }));
  }
  return () => {
    clearInterval(timer);
    model.off("change:view", show);
  };
}

export default { render };
