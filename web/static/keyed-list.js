// A list on the page that follows a list of keys, touching only what has changed: what has the focus keeps it.

export class KeyedList {
  #items = new Map();

  /** `create(key)` makes an <li>. */
  constructor(element, create) {
    this.element = element;
    this.create = create;
  }

  /** Show `keys`, in that order. */
  show(keys) {
    const wanted = new Set(keys);
    for (const [key, item] of this.#items) {
      if (wanted.has(key)) continue;
      item.remove();
      this.#items.delete(key);
    }
    let next = this.element.firstElementChild;
    for (const key of wanted) {
      const item = this.get(key) ?? this.#add(key);
      if (item === next) next = next.nextElementSibling;
      else this.element.insertBefore(item, next);
    }
  }

  get(key) {
    return this.#items.get(key);
  }

  #add(key) {
    const item = this.create(key);
    this.#items.set(key, item);
    return item;
  }
}
