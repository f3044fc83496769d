// A side of the page that slides over it where there is no room beside it.  While it is open, what it covers cannot be
// reached; Escape, the veil and the button that opened it close it.

import { byId } from "./dom.js";

export class Drawer {
  /** `narrow` is the media query under which the side is a drawer, as in page.css. */
  constructor(id, narrow) {
    this.side = byId(id);
    this.toggle = byId(`show-${id}`);
    this.narrow = matchMedia(narrow);
    this.toggle.addEventListener("click", () => this.show(!this.isOpen));
    this.side.addEventListener("keydown", (event) => event.key === "Escape" && this.show(false));
    byId("veil").addEventListener("click", () => this.show(false));
    this.narrow.addEventListener("change", () => this.show(false));
  }

  get isOpen() {
    return this.toggle.getAttribute("aria-expanded") === "true";
  }

  /** Open it, or close it and give the focus to `next`; where it is no drawer it is always there. */
  show(wanted, next = this.toggle) {
    const isOpen = wanted && this.narrow.matches;
    if (isOpen === this.isOpen) return;
    this.side.classList.toggle("open", isOpen);
    this.toggle.setAttribute("aria-expanded", String(isOpen));
    byId("veil").hidden = !isOpen;
    for (const other of document.body.children) {
      if (other !== this.side && !["veil", "announcer"].includes(other.id)) other.inert = isOpen;
    }
    (isOpen ? this.side : next).focus();
  }
}
