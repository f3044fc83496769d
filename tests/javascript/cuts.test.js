import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatClient } from "../../web/static/chat-client.js";
import { Net } from "./network.js";

const CHANNELS = ["lobby", "garden"];
const USERS = ["ann", "bob", "eve"];
const SEEDS = [1, 2, 3, 4, 5]; // each a minute of talk, in a fifth of a second

/** One user with a page: what they said and heard, over all of the page's lives. */
class Guest {
  said = { lobby: [], garden: [] };
  heard = { lobby: [], garden: [] };
  whispers = [];
  losses = 0;
  reloads = 0;

  constructor(net, user) {
    Object.assign(this, { net, user, around: net.surroundings(user) });
    this.load();
  }

  load() {
    this.client = new ChatClient(this.around);
    this.channels = CHANNELS.map((name) => this.#enter(name));
  }

  #enter(name) {
    const channel = this.client.join(name, this.reloads ? {} : { position: { epoch: "e1", offset: 0 } });
    channel.addEventListener("message", ({ detail }) => this.heard[name].push(detail));
    channel.addEventListener("whisper", ({ detail }) => this.whispers.push(detail.text));
    channel.addEventListener("lost", () => (this.losses += 1));
    return channel;
  }

  reload() {
    this.reloads += 1;
    this.around.online.dispatchEvent(new Event("pagehide"));
    this.client.close();
    this.load();
  }

  say() {
    const channel = this.channels[Math.floor(this.net.chance() * CHANNELS.length)];
    const said = this.said[channel.name];
    if (channel.pending.length > 50) return;
    said.push(`${this.user} ${said.length}`);
    channel.publish(said.at(-1));
  }

  whisper(number) {
    this.channels[0].publish(`${this.user} whispers ${number}`, { to: USERS[(USERS.indexOf(this.user) + 1) % USERS.length] });
  }

  get isDone() {
    return this.channels.every(({ pending }) => pending.length === 0);
  }
}

for (const seed of SEEDS) {
  test(`whatever is cut, nothing is lost, doubled or swapped (seed ${seed})`, async () => {
    const net = new Net(seed);
    const guests = USERS.map((user) => new Guest(net, user));
    const cuts = { heard: 0, silent: 0 };
    await net.run(60_000, () => {
      for (const guest of guests) {
        if (net.chance() < 0.03) guest.say();
        if (net.chance() < 0.0005) guest.reload();
      }
      const open = net.lines.filter(({ isCut }) => !isCut);
      if (open.length && net.chance() < 0.012) {
        const isSilent = net.chance() < 0.3;
        cuts[isSilent ? "silent" : "heard"] += 1;
        open[Math.floor(net.chance() * open.length)].cut(isSilent);
      }
    });
    await net.run(90_000);

    assert.ok(cuts.heard > 10 && cuts.silent > 5 && net.refusals > 10, JSON.stringify({ cuts, refusals: net.refusals }));
    assert.ok(guests.some(({ reloads }) => reloads > 0));
    for (const name of CHANNELS) {
      const { log } = net.room(name);
      assert.ok(log.length > 150, `${log.length} messages`);
      for (const guest of guests) {
        assert.ok(guest.isDone);
        assert.equal(guest.losses, 0);
        assert.deepEqual(log.filter(({ from }) => from === guest.user).map(({ text }) => text), guest.said[name]);
        assert.deepEqual(guest.heard[name].map(({ offset, text }) => [offset, text]), log.map(({ offset, text }) => [offset, text]));
      }
    }
    for (const { client } of guests) client.close();
    await net.run(1000);
    assert.ok(net.clock.isQuiet);
  });
}

test("wherever a log goes on, what is said is said once and in order, and nothing is heard twice", async () => {
  const net = new Net(12);
  const guests = USERS.map((user) => new Guest(net, user));
  let moves = 0;
  await net.run(60_000, () => {
    for (const guest of guests) if (net.chance() < 0.03) guest.say();
    const open = net.lines.filter(({ isCut, user }) => !isCut && user === "ann");
    if (open.length && net.chance() < 0.003) open[0].cut(false);
    if (net.chance() < 0.005) net.room(CHANNELS[moves++ % CHANNELS.length]).move();
  });
  await net.run(60_000);

  assert.ok(moves > 20, `${moves} moves`);
  for (const name of CHANNELS) {
    const { log } = net.room(name);
    for (const guest of guests) {
      assert.ok(guest.isDone);
      assert.ok(guest.losses > 20);
      assert.deepEqual(log.filter(({ from }) => from === guest.user).map(({ text }) => text), guest.said[name]);
      const heard = guest.heard[name].map(({ offset }) => offset);
      const all = log.map(({ offset }) => offset);
      assert.deepEqual(heard, guest.user === "ann" ? all.filter((offset) => heard.includes(offset)) : all);
    }
  }
});

test("a whisper that is said again after a cut is whispered once", async () => {
  const net = new Net(11);
  const guests = USERS.map((user) => new Guest(net, user));
  let number = 0;
  await net.run(20_000, () => {
    if (number < 40 && net.chance() < 0.05) guests[0].whisper(number++);
    const open = net.lines.filter(({ isCut, user }) => !isCut && user === "ann");
    if (open.length && net.chance() < 0.01) open[0].cut(false);
  });
  await net.run(60_000);

  assert.equal(number, 40);
  assert.ok(guests[0].isDone);
  const all = Array.from({ length: 40 }, (_, each) => `ann whispers ${each}`);
  assert.deepEqual(net.room("lobby").whispers.map(({ text }) => text), all);
  assert.deepEqual(guests[1].whispers, all); // bob's line was never cut
});
