// Elements: finding, making and redrawing them.  Text goes in as text only: nothing that somebody wrote is ever parsed as HTML.

export const byId = (id) => document.getElementById(id);

/** `make("p", {className: "text", "aria-live": "polite"}, "hello", child)`: properties, and attributes with a dash. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    // `role` too: as a property it is younger than the browsers we want to work in.
    if (name === "role" || name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Set a text that is announced when it changes, and only then. */
export function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Return a function that has `draw` called once, soon, however often it is called until then. */
export function soon(draw) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    setTimeout(() => {
      isDue = false;
      draw();
    }, 0);
  };
}
