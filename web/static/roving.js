// One element of many that Tab reaches, and arrows from it to the others: messages would be too many stops.

export class Roving {
  #current = null;

  /** `selector` is what the stops in `element` match; buttons of the class `act` in one are reached with it. */
  constructor(element, selector) {
    Object.assign(this, { element, selector });
    element.addEventListener("focusin", (event) => this.#become(event.target.closest(selector)));
    element.addEventListener("keydown", (event) => this.#move(event));
  }

  /** A stop at the end, which is the one to begin with, unless somebody is among them. */
  offer(stop) {
    if (!this.element.contains(document.activeElement)) this.#become(stop);
  }

  #become(stop) {
    if (stop === null || stop === this.#current) return;
    if (this.#current) reach(this.#current, -1);
    reach(stop, 0);
    this.#current = stop;
  }

  #move(event) {
    const stop = event.target.closest(this.selector);
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!stop || !step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault(); // it would scroll
    const stops = [...this.element.querySelectorAll(this.selector)];
    stops[stops.indexOf(stop) + step]?.focus();
  }
}

function reach(stop, tabIndex) {
  for (const each of [stop, ...stop.querySelectorAll(".act")]) each.tabIndex = tabIndex;
}
