// What all widgets are made of, put before their code.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const utc = (time) => new Date(time).toISOString().slice(0, 19).replace("T", " ") + " UTC";
