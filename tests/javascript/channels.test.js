import assert from "node:assert/strict";
import { test } from "node:test";
import { ack, error, listen, message, refusal, settle, Stage, welcome } from "./stage.js";

/** A client in `lobby`, and `garden` too. */
async function inside(options = {}, more = {}) {
  const stage = new Stage();
  const client = stage.client(options);
  const [lobby, garden] = [client.join("lobby"), client.join("garden")];
  const socket = await stage.welcome("lobby", more);
  socket.tell(welcome("garden", more), ack("garden", socket.of("join")[0].id));
  await settle();
  return { stage, client, lobby, garden, socket };
}

const offsets = (heard) => heard.map(([, { offset }]) => offset);

// Joining

test("each channel joins with its own position, and goes on from it after a loss", async () => {
  const { stage, lobby, garden, socket } = await inside();
  socket.tell(message("lobby", 1), message("lobby", 2), message("garden", 1));
  socket.end(1006);
  await stage.clock.turn(500);
  const next = await stage.welcome("lobby", { recovered: true, offset: 2 });

  assert.equal(next.url.search, "?epoch=e1&offset=2");
  const [{ token, epoch, offset }] = next.of("join");
  assert.deepEqual({ token, epoch, offset }, { token: "garden-4", epoch: "e1", offset: 1 });
  assert.deepEqual([lobby.state.name, garden.state.name], ["joined", "joining"]);
});

test("at most four joins are under way", async () => {
  const stage = new Stage();
  const client = stage.client();
  for (let number = 0; number < 8; number += 1) client.join(`c${number}`);
  const socket = await stage.welcome("c0");
  assert.equal(socket.of("join").length, 4);

  socket.tell(welcome("c1"));
  await settle();

  assert.equal(socket.of("join").length, 5);
});

for (const code of ["idle_channel", "server_closed", "rate_limited", "invalid_token", "user_already_connected"]) {
  test(`a join that is refused with ${code} is tried again with another token, later each time`, async () => {
    const stage = new Stage();
    stage.chance = 1;
    const client = stage.client();
    client.join("lobby");
    const garden = client.join("garden");
    const socket = await stage.welcome();
    const retry = !["invalid_token", "user_already_connected"].includes(code);
    for (const wait of [1000, 2000, 4000]) {
      socket.tell({ type: "ping" }, error(socket.of("join").at(-1).id, code, { retry }));
      assert.equal(garden.state.name, "waiting");
      await stage.clock.turn(wait - 1);
      const asked = stage.asked.length;
      await stage.clock.turn(code === "rate_limited" ? 1001 : 1);
      assert.equal(stage.asked.length, asked + 1);
    }

    assert.equal(client.state.name, "online");
  });
}

for (const code of ["forbidden", "invalid_channel", "channel_closed", "too_many_channels"]) {
  test(`a join that is refused with ${code} ends that channel alone`, async () => {
    const stage = new Stage();
    const client = stage.client();
    const [lobby, garden] = [client.join("lobby"), client.join("garden")];
    const socket = await stage.welcome();

    socket.tell(error(socket.of("join")[0].id, code));

    assert.deepEqual(garden.state, { name: "ended", code, text: "No." });
    assert.equal(lobby.state.name, "joined");
    assert.equal(await refusal(garden.publish("hello?")), code);
  });
}

test("a join that is refused because another user is logged in ends everything", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  client.join("garden");
  const socket = await stage.welcome();

  socket.tell(error(socket.of("join")[0].id, "other_user"));

  assert.deepEqual([client.state.name, client.state.code], ["ended", "other_user"]);
});

test("a server that counts us in where we are not makes us begin anew", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  client.join("garden");
  const socket = await stage.welcome();

  socket.tell(error(socket.of("join")[0].id, "already_joined"));

  assert.equal(client.state.name, "waiting");
  assert.equal(socket.closedWith, 1000);
});

test("a token for another channel ends the channel that it was for", async () => {
  const stage = new Stage();
  const client = stage.client();
  const [lobby, garden] = [client.join("lobby"), client.join("garden")];
  await stage.welcome("elsewhere");
  assert.equal(lobby.state.code, "other_channel");
  const socket = await stage.welcome("garden");
  const kitchen = client.join("kitchen");
  await settle();

  socket.tell(welcome("elsewhere"), ack("elsewhere", socket.of("join")[0].id));

  assert.equal(kitchen.state.code, "other_channel");
  assert.deepEqual(socket.of("leave").map(({ channel }) => channel), ["elsewhere"]);
  assert.equal(garden.state.name, "joined");
});

test("a channel's name is taken as the server writes it", async () => {
  const stage = new Stage();
  const client = stage.client();

  const cafe = client.join("cafe\u0301");
  await stage.welcome("caf\u00e9");

  assert.equal(cafe.state.name, "joined");
  assert.equal(client.join("caf\u00e9"), cafe);
});

// Ends

for (const [code, word] of [[1000, "channel_closed"], [4503, "kicked"], [4504, "banned"], [4001, "replaced"]]) {
  test(`a channel that the server closes with ${code} has ended, and the others have not`, async () => {
    const { stage, client, lobby, garden, socket } = await inside();

    socket.tell({ type: "closed", channel: "garden", code, reason: "" }, message("lobby", 1));

    assert.equal(garden.state.code, word);
    assert.equal(lobby.position.offset, 1);
    socket.end(1006);
    await stage.clock.turn(500);
    await stage.welcome();
    assert.equal(client.state.name, "online");
    assert.equal(stage.asked.filter((channel) => channel === "garden").length, 1);
  });
}

test("a channel that the server closes for a while is joined again", async () => {
  const { stage, garden, socket } = await inside();

  socket.tell({ type: "closed", channel: "garden", code: 1012, reason: "retry=3.000" });
  await stage.clock.turn(3_499);
  assert.equal(garden.state.name, "waiting");
  await stage.clock.turn(1);

  assert.equal(socket.of("join").length, 2);
});

test("a channel that the server does not know us in is joined again, and what was said there is said again", async () => {
  const { stage, garden, socket } = await inside();
  garden.publish("hello");
  const [{ id }] = socket.of("publish");

  socket.tell(error(id, "not_joined", { channel: "garden" }));
  await stage.clock.turn(1000);
  socket.tell(welcome("garden"));
  await stage.clock.turn(2000);

  assert.deepEqual(socket.of("publish").map((frame) => frame.id), [id, id]);
});

test("who leaves hears nothing more, and the server is told", async () => {
  const { client, garden, socket } = await inside();
  const heard = listen(garden, "message");
  const pending = garden.publish("and now I go");

  const left = garden.leave();
  const [{ id, channel }] = socket.of("leave");
  socket.tell(message("garden", 1), ack("garden", id));
  await left;

  assert.equal(channel, "garden");
  assert.deepEqual(heard, []);
  assert.deepEqual(garden.state, { name: "left" });
  assert.equal(await refusal(pending), "left");
  assert.deepEqual([...client.channels.keys()], ["lobby"]);
  assert.equal(await refusal(garden.publish("hello?")), "left");
});

test("who leaves and comes back waits until the server has let go", async () => {
  const { client, garden, socket } = await inside();
  garden.leave();

  const again = client.join("garden");
  await settle();
  assert.equal(socket.of("join").length, 1);
  socket.tell(ack("garden", socket.of("leave")[0].id));
  await settle();

  assert.notEqual(again, garden);
  assert.equal(socket.of("join").length, 2);
});

test("a leave that comes too fast is asked for again", async () => {
  const { stage, garden, socket } = await inside();
  const left = garden.leave();

  socket.tell(error(socket.of("leave")[0].id, "rate_limited", { retry: true }));
  await stage.clock.turn(1000);
  socket.tell(ack("garden", socket.of("leave")[1].id));

  await left;
  assert.equal(socket.of("leave").length, 2);
});

test("a leave whose answer the network took is done", async () => {
  const { garden, socket } = await inside();
  const left = garden.leave();

  socket.end(1006);

  await left;
});

test("leaving the last channel closes the connection", async () => {
  const { stage, client, lobby, garden, socket } = await inside();
  garden.leave();

  await lobby.leave();

  assert.equal(socket.closedWith, 1000);
  assert.deepEqual(client.state, { name: "idle" });
  await stage.clock.turn(100_000);
  assert.equal(stage.sockets.length, 1);
  assert.ok(stage.clock.isQuiet);
});

test("a channel that is left while it is being joined is left", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  const garden = client.join("garden");
  const socket = await stage.welcome();

  garden.leave();
  socket.tell(welcome("garden"));

  assert.equal(socket.of("leave")[0].channel, "garden");
});

test("a channel that is left during the handshake makes room for another one", async () => {
  const stage = new Stage();
  const client = stage.client();
  const lobby = client.join("lobby");
  const garden = client.join("garden");
  await settle();

  await lobby.leave();
  await stage.welcome("garden");

  assert.equal(stage.sockets[0].closedWith, 1000);
  assert.equal(garden.state.name, "joined");
});

// Hearing

test("what was heard already is not told again, and the rest is in order", async () => {
  const { stage, lobby, socket } = await inside();
  const heard = listen(lobby, "message", "edit", "delete");
  socket.tell(message("lobby", 1), message("lobby", 2, { type: "edit", target: 1 }));
  socket.end(1006);
  await stage.clock.turn(500);
  const next = await stage.welcome("lobby", { recovered: true, offset: 4 });

  next.tell(message("lobby", 2), message("lobby", 3, { type: "delete", target: 1 }), message("lobby", 4), message("lobby", 4));

  assert.deepEqual(offsets(heard), [1, 2, 3, 4]);
  assert.deepEqual(lobby.position, { epoch: "e1", offset: 4 });
});

test("a position that cannot be resumed is told, and it goes on from the welcome", async () => {
  const { stage, lobby, socket } = await inside();
  const heard = listen(lobby, "welcome", "lost", "message");
  socket.tell(message("lobby", 7));
  socket.end(1006);
  await stage.clock.turn(500);

  const next = await stage.welcome("lobby", { epoch: "e2", offset: 3 });
  next.tell(message("lobby", 4));

  assert.deepEqual(heard.map(([type, { epoch, offset }]) => [type, epoch, offset]), [
    ["message", undefined, 7],
    ["welcome", "e2", 3],
    ["lost", "e2", 3],
    ["message", undefined, 4],
  ]);
});

test("leaving the channel that alone was joined does not end those that are being joined", async () => {
  const stage = new Stage();
  const client = stage.client();
  const [lobby, garden] = [client.join("lobby"), client.join("garden")];
  const socket = await stage.welcome("lobby");
  const left = lobby.leave();
  socket.end(1000, "left");
  await left;
  await stage.clock.turn(1000);
  await stage.welcome("garden");

  assert.equal(garden.state.name, "joined");
});

test("a position that is given while a join is under way does not change what its welcome means", async () => {
  const stage = new Stage();
  const client = stage.client();
  const lobby = client.join("lobby", { position: { epoch: "e1", offset: 3 } });
  client.join("lobby", { position: { epoch: "e1", offset: 1 } });
  await stage.welcome("lobby", { recovered: true, offset: 3 });

  assert.deepEqual(lobby.position, { epoch: "e1", offset: 3 });
});

test("who is there for the first time has lost nothing", async () => {
  const stage = new Stage();
  const lobby = stage.client().join("lobby");
  const heard = listen(lobby, "lost");

  await stage.welcome("lobby", { offset: 12 });

  assert.deepEqual(heard, []);
  assert.deepEqual(lobby.position, { epoch: "e1", offset: 12 });
});

test("a whisper that comes again is told once, and one without an id each time", async () => {
  const { lobby, socket } = await inside();
  const heard = listen(lobby, "whisper");
  const whisper = (id, from = "bob") => ({ type: "whisper", channel: "lobby", id, from, to: "ann", text: "psst", date: "" });

  socket.tell(whisper("w1"), whisper("w1"), whisper("w1", "eve"), whisper(null), whisper(null));

  assert.equal(heard.length, 4);
});

test("what only passes by is told as it comes, and what is unknown is left alone", async () => {
  const { client, lobby, socket } = await inside();
  const heard = listen(lobby, "joined", "left", "presence", "typing", "weather");
  const complaints = listen(client, "error");

  for (const type of ["joined", "left", "typing", "weather"]) socket.tell({ type, channel: "lobby", user: { user: "bob" } });
  socket.tell({ type: "presence", channel: "lobby", joined: [], left: [], count: 7 }, { type: "joined", channel: "nowhere" });

  assert.deepEqual(heard.map(([type]) => type), ["joined", "left", "typing", "presence"]);
  assert.deepEqual(complaints, []);
});

test("an error that nobody asked for is told", async () => {
  const { client, socket } = await inside();
  const heard = listen(client, "error");

  socket.tell(error(undefined, "forbidden", { channel: "lobby", message: "you may not write here" }));

  assert.deepEqual(heard[0][1], { code: "forbidden", message: "You may not write here.", retry: false, channel: "lobby" });
});

test("a listener that fails costs nobody else anything", async (t) => {
  const { lobby, socket } = await inside();
  const thrown = [];
  const note = (error) => thrown.push(error.message);
  const others = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException").on("uncaughtException", note);
  t.after(() => {
    process.removeAllListeners("uncaughtException");
    for (const other of others) process.on("uncaughtException", other);
  });
  lobby.addEventListener("message", () => {
    throw new Error("mine");
  });
  const heard = listen(lobby, "message");

  socket.tell(message("lobby", 1), message("lobby", 2));
  await settle();

  assert.deepEqual(offsets(heard), [1, 2]);
  assert.deepEqual(thrown, ["mine", "mine"]);
});

// Asking

test("history is asked for one page at a time, and again after a loss", async () => {
  const { stage, lobby, socket } = await inside();
  const first = lobby.history({ before: 100, limit: 20 });
  const second = lobby.history();
  await settle();
  const [asked] = socket.of("history");
  const { before, limit, channel } = asked;
  assert.deepEqual({ before, limit, channel, count: socket.of("history").length }, { before: 100, limit: 20, channel: "lobby", count: 1 });
  socket.end(1006);
  await stage.clock.turn(500);
  const next = await stage.welcome("lobby", { recovered: true });

  next.tell({ type: "history", channel: "lobby", id: asked.id, events: [{ offset: 99 }], more: true });
  const [, { id }] = next.of("history");
  next.tell({ type: "history", channel: "lobby", id, events: [], more: false });

  assert.deepEqual(await first, { events: [{ offset: 99 }], more: true });
  assert.deepEqual(await second, { events: [], more: false });
});

test("history that may not be read is refused, and the next one is asked for", async () => {
  const { lobby, socket } = await inside();
  const [first, second] = [lobby.history(), lobby.history()];
  await settle();

  socket.tell(error(socket.of("history")[0].id, "forbidden"));

  assert.equal(await refusal(first), "forbidden");
  assert.equal(socket.of("history").length, 2);
  assert.ok(second instanceof Promise);
});

test("a slow history keeps nothing from being said", async () => {
  const { lobby, socket } = await inside();
  lobby.history();

  lobby.publish("meanwhile");
  await settle();

  assert.equal(socket.of("publish").length, 1);
});

test("typing is told every three seconds at most, and never later", async () => {
  const { stage, lobby, socket } = await inside();
  for (let key = 0; key < 30; key += 1) {
    lobby.typing();
    await stage.clock.turn(200);
  }
  assert.equal(socket.of("typing").length, 2);

  socket.end(1006);
  lobby.typing();
  await stage.clock.turn(500);
  const next = await stage.welcome();

  assert.deepEqual(next.of("typing"), []);
});

test("read markers go forward, one a second at most, the last one in the end", async () => {
  const { stage, lobby, socket } = await inside();
  for (const offset of [1, 2, 5, 3]) lobby.read(offset);
  await stage.clock.turn(1000);
  lobby.read(4);
  await stage.clock.turn(3000);

  assert.deepEqual(socket.of("read").map(({ offset }) => offset), [1, 5]);
  assert.ok(socket.of("read").every(({ channel }) => channel === "lobby"));
});

test("a read marker that a loss may have taken, or that was set meanwhile, is told again", async () => {
  const { stage, lobby, garden, socket } = await inside();
  lobby.read(5);
  socket.end(1006);
  garden.read(3);
  await stage.clock.turn(500);
  const next = await stage.welcome("lobby", { recovered: true });
  next.tell(welcome("garden", { recovered: true }));

  assert.deepEqual(next.of("read").map(({ channel, offset }) => [channel, offset]), [["lobby", 5], ["garden", 3]]);
});

test("frames are paced to what the server takes, and every channel gets its turn", async () => {
  const limits = { message: 4096, rate: 10, channels: 100, history: 200 };
  const { stage, lobby, garden, socket } = await inside({}, { limits });
  for (let number = 0; number < 60; number += 1) {
    lobby.publish(`lobby ${number}`);
    garden.publish(`garden ${number}`);
  }
  let acked = 0;
  const answer = async () => {
    for (let all = socket.of("publish"); acked < all.length; all = socket.of("publish")) {
      const { channel, id } = all[acked++];
      socket.tell(ack(channel, id, acked));
      await settle();
    }
  };

  await answer();
  const atOnce = socket.said.length;
  for (let ms = 0; ms < 5000; ms += 10) {
    await stage.clock.turn(10);
    await answer();
  }

  assert.ok(atOnce > 20 && atOnce <= 30, `${atOnce} at once`);
  const later = socket.said.length - atOnce;
  assert.ok(later >= 44 && later <= 50, `${later} in 5 s`);
  const [a, b] = ["lobby", "garden"].map((name) => socket.of("publish").filter(({ channel }) => channel === name).length);
  assert.ok(Math.abs(a - b) <= 1, `${a} and ${b}`);
});
