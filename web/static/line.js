// A quiet line in the log: what the system says, or what has happened.

import { make } from "./dom.js";

export class Line {
  /** `nodes` are what it says, at `date`. */
  constructor(nodes, date) {
    this.text = make("span", { dir: "auto" }, ...nodes);
    this.element = make("p", { className: "remark" }, this.text, " ", time(date));
  }

  /** The system has put it in other words. */
  edit(text) {
    this.text.textContent = text;
  }

  delete() {
    this.text.textContent = "Message deleted";
    this.element.classList.add("deleted");
  }
}

/** When something was said, as the reader's clock has it. */
export function time(date) {
  const shown = date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  return make("time", { dateTime: date.toISOString(), title: date.toLocaleString() }, shown);
}
