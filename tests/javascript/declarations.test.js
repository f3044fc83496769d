import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as module from "../../web/static/chat-client.js";

const declared = readFileSync(new URL("../../web/static/chat-client.d.ts", import.meta.url), "utf8");
const EXTENDED = ["constructor", "addEventListener", "removeEventListener"]; // only their types are ours

for (const name of ["ChatClient", "ChatChannel"]) {
  test(`${name} has what its declaration says`, () => {
    const [, body] = new RegExp(`class ${name} extends EventTarget \\{\n(.*?)\n\\}`, "s").exec(declared);
    const members = [...body.matchAll(/^ {2}(?:private |readonly )?(\w+)[<(:]/gm)].map((match) => match[1]);
    const made = new module.ChatClient({ url: "ws://localhost/", token: "t", WebSocket: class {} });
    const object = name === "ChatClient" ? made : made.join("lobby");

    assert.ok(members.length > 8);
    assert.deepEqual(members.filter((member) => !EXTENDED.includes(member) && !(member in object)), []);
    made.close();
  });
}
