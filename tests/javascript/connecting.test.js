import assert from "node:assert/strict";
import { test } from "node:test";
import { ack, listen, settle, Stage, welcome } from "./stage.js";

test("the first channel rides in the handshake, with its token and its position", async () => {
  const stage = new Stage();

  const client = stage.client();
  client.join("lobby", { position: { epoch: "e 1", offset: 7 } });
  await settle();

  assert.equal(stage.socket.url.href, "wss://example.org/chat/ws?epoch=e+1&offset=7");
  assert.deepEqual(stage.socket.protocols, ["chat.v1", "chat.token.lobby-1"]);
});

test("a channel that has no position yet asks to resume nothing", async () => {
  const stage = new Stage();

  stage.client({ url: "http://localhost:8000/chat/ws" }).join("lobby");
  await settle();

  assert.equal(stage.socket.url.href, "ws://localhost:8000/chat/ws");
});

test("every handshake and every join asks for a token of its own", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  client.join("garden");
  await stage.welcome();
  const joins = stage.socket.of("join");
  stage.socket.tell(welcome("garden"), ack("garden", joins[0].id));
  stage.socket.end(1006);
  await stage.clock.turn(1000);
  await stage.welcome();

  assert.deepEqual(stage.asked, ["lobby", "garden", "lobby", "garden"]);
  assert.equal(joins[0].token, "garden-2");
  assert.deepEqual(stage.sockets.map(({ protocols }) => protocols[1]), ["chat.token.lobby-1", "chat.token.lobby-3"]);
});

test("its states are told as they come", async () => {
  const stage = new Stage();
  const client = stage.client();
  assert.deepEqual(client.state, { name: "idle" });
  const heard = listen(client, "state");

  const lobby = client.join("lobby");
  const own = listen(lobby, "state");
  await stage.welcome();
  stage.socket.end(1006);
  const until = stage.clock.time + 500;
  await stage.clock.turn(500);
  client.close();

  assert.deepEqual(heard.map(([, state]) => state), [
    { name: "connecting", isAgain: false },
    { name: "online" },
    { name: "waiting", until, isOrdered: false },
    { name: "connecting", isAgain: true },
    { name: "idle" },
  ]);
  assert.deepEqual(own.map(([, { name }]) => name), ["joined", "waiting", "joining", "waiting"]);
  assert.ok(stage.clock.isQuiet);
  assert.equal(stage.socket.closedWith, 1000);
});

test("an address is resolved against the page", async (t) => {
  const stage = new Stage();
  globalThis.document = { baseURI: "https://example.org/a/page" };
  t.after(() => delete globalThis.document);

  stage.client({ url: "../chat/ws" }).join("lobby");
  await settle();

  assert.equal(stage.socket.url.href, "wss://example.org/chat/ws");
});

test("an address that is none ends it and says so", async () => {
  const stage = new Stage();
  const client = stage.client({ url: "/chat/ws" }); // there is no page here

  const lobby = client.join("lobby");
  await settle();

  assert.equal(client.state.code, "refused");
  assert.match(client.state.text, /\/chat\/ws/);
  assert.equal(lobby.state.code, "refused");
});

test("where there is no WebSocket, one is asked for", (t) => {
  const { WebSocket } = globalThis; // node has one from 22 on
  delete globalThis.WebSocket;
  t.after(() => WebSocket && Object.assign(globalThis, { WebSocket }));

  assert.throws(() => new Stage().client({ WebSocket: undefined }), /give a class as the option WebSocket/);
});

// Tries

test("the wait before another try is anything up to a bound that doubles", async () => {
  const stage = new Stage();
  stage.chance = 1;
  const client = stage.client();
  client.join("lobby");
  const waits = [];
  for (let attempt = 0; attempt < 7; attempt += 1) {
    await settle();
    stage.socket.end(1006);
    waits.push(client.state.until - stage.clock.time);
    await stage.clock.turn(waits.at(-1));
  }

  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
});

test("a connection that was stable counts its losses from the beginning, and another does not", async () => {
  const stage = new Stage();
  stage.chance = 1;
  const client = stage.client();
  client.join("lobby");
  const waits = [];
  for (const stays of [0, 9_000, 11_000]) {
    await stage.welcome();
    await stage.clock.turn(stays);
    stage.socket.end(1006);
    waits.push(client.state.until - stage.clock.time);
    await stage.clock.turn(waits.at(-1));
  }

  assert.deepEqual(waits, [1000, 2000, 1000]);
});

test("a restart says when to come back, and nothing hurries it but connect", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  await stage.welcome();

  stage.socket.end(1012, "retry=20.000");

  assert.deepEqual(client.state, { name: "waiting", until: stage.clock.time + 20_500, isOrdered: true });
  client.hurry();
  stage.setOnline(false);
  assert.equal(client.state.name, "offline");
  stage.setOnline(true);
  await stage.clock.turn(20_000);
  assert.equal(stage.sockets.length, 1);
  client.connect();
  assert.equal(client.state.name, "connecting");
});

test("an order that is out of reason is kept within it", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  await stage.welcome();

  stage.socket.end(1012, "retry=99999");

  assert.equal(client.state.until - stage.clock.time, 300_500);
});

test("who was too fast comes back slowly", async () => {
  const stage = new Stage();
  stage.chance = 1;
  const client = stage.client();
  client.join("lobby");
  await stage.welcome();
  await stage.clock.turn(20_000);

  stage.socket.end(4029);

  assert.equal(client.state.until - stage.clock.time, 16_000);
});

for (const code of [1001, 1006, 1011, 1013, 4000, 4008, 4499]) {
  test(`close code ${code} is come back from`, async () => {
    const stage = new Stage();
    const client = stage.client();
    client.join("lobby");
    await stage.welcome();

    stage.socket.end(code);

    assert.equal(client.state.name, "waiting");
  });
}

for (const [code, word] of [[1008, "refused"], [4501, "logged_out"], [4500, "refused"], [4999, "refused"]]) {
  test(`close code ${code} ends everything, until connect`, async () => {
    const stage = new Stage();
    const client = stage.client();
    const [lobby, garden] = [client.join("lobby"), client.join("garden")];
    await stage.welcome();

    stage.socket.end(code);
    client.hurry();
    stage.setOnline(true);
    await stage.clock.turn(100_000);

    assert.equal(client.state.name, "ended");
    assert.equal(client.state.error.code, word);
    assert.deepEqual([lobby.state.code, garden.state.code], [word, word]);
    assert.equal(stage.sockets.length, 1);
    client.connect();
    await stage.welcome("lobby");
    assert.equal(lobby.state.name, "joined");
    assert.equal(garden.state.name, "joining");
  });
}

for (const [code, word] of [[1000, "channel_closed"], [4001, "replaced"], [4503, "kicked"], [4504, "banned"]]) {
  test(`close code ${code} ends the channel that was there, and the other one goes on`, async () => {
    const stage = new Stage();
    const client = stage.client();
    const [lobby, garden] = [client.join("lobby"), client.join("garden")];
    await stage.welcome();

    stage.socket.end(code);
    assert.equal(lobby.state.code, word);
    await stage.clock.turn(1000);
    await stage.welcome("garden");

    assert.equal(garden.state.name, "joined");
    assert.deepEqual(stage.asked, ["lobby", "garden", "garden"]);
  });
}

test("when its only channel has ended it is idle, and joining the channel again tries anew", async () => {
  const stage = new Stage();
  const client = stage.client();
  const lobby = client.join("lobby");
  await stage.welcome();
  stage.socket.end(4503);
  assert.equal(client.state.name, "idle");
  await stage.clock.turn(1000); // the position is written
  assert.ok(stage.clock.isQuiet);

  assert.equal(client.join("lobby"), lobby);
  await stage.welcome();

  assert.equal(lobby.state.name, "joined");
});

test("a handshake that fails lets another channel ride in the next one", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  client.join("garden");
  await settle();

  stage.socket.end(1006); // refused, for a reason that browsers do not tell
  await stage.clock.turn(1000);

  assert.deepEqual(stage.asked, ["lobby", "garden"]);
});

// Tokens

for (const [status, retryAfter, wait] of [[0, null, 500], [429, 7, 7500], [503, 60, 60_500], [500, null, 500], [undefined, undefined, 500]]) {
  test(`a token that is refused with ${status}, Retry-After ${retryAfter}, is asked for again`, async () => {
    const stage = new Stage();
    const client = stage.client();
    stage.token = async () => {
      throw Object.assign(new Error("away"), { status, retryAfter });
    };
    const lobby = client.join("lobby");
    await settle();

    assert.equal(client.state.until - stage.clock.time, wait);
    assert.equal(client.state.isOrdered, wait > 500);
    await stage.clock.turn(wait - 1);
    assert.equal(stage.asked.length, 1);
    await stage.clock.turn(1);
    assert.equal(stage.asked.length, 2);
    assert.equal(lobby.state.name, "waiting");
  });
}

test("a token that is refused because nobody is logged in ends everything", async () => {
  const stage = new Stage();
  const client = stage.client();
  stage.token = async () => {
    throw Object.assign(new Error("not logged in"), { status: 401 });
  };
  client.join("lobby");
  await settle();

  assert.deepEqual([client.state.name, client.state.code], ["ended", "logged_out"]);
});

for (const [status, code] of [[403, "forbidden"], [404, "invalid_channel"], [410, "channel_closed"], [400, "invalid_channel"]]) {
  test(`a token that is refused with ${status} ends that channel, and the next one rides`, async () => {
    const stage = new Stage();
    const client = stage.client();
    stage.token = async (channel) => {
      if (channel === "lobby") throw Object.assign(new Error("No."), { status, code });
      return { token: "t" };
    };
    const [lobby, garden] = [client.join("lobby"), client.join("garden")];
    await stage.welcome("garden");

    assert.deepEqual(lobby.state, { name: "ended", code, text: "No." });
    assert.equal(garden.state.name, "joined");
  });
}

test("a refusal that says nothing but its status is put into words", async () => {
  const stage = new Stage();
  stage.token = () => Promise.reject({ status: 403 });
  const lobby = stage.client().join("lobby");
  await settle();

  assert.deepEqual(lobby.state, { name: "ended", code: "refused", text: "A token was refused, with status 403." });
});

test("a token that never comes is given up", async () => {
  const stage = new Stage();
  const client = stage.client();
  stage.token = () => new Promise(() => {});
  client.join("lobby");

  await stage.clock.turn(15_499);
  assert.equal(stage.asked.length, 1);
  await stage.clock.turn(1);

  assert.equal(stage.asked.length, 2);
});

test("a token that comes too late is not used", async () => {
  const stage = new Stage();
  const client = stage.client();
  let give;
  stage.token = () => new Promise((resolve) => (give = resolve));
  client.join("lobby");
  client.close();

  give("late");
  await settle();

  assert.equal(stage.sockets.length, 0);
});

test("a token of another user than so far ends it", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  await stage.welcome();
  assert.equal(client.user, "ann");
  stage.token = async () => ({ token: "t", username: "bob" });

  stage.socket.end(1006);
  await stage.clock.turn(500);

  assert.deepEqual([client.state.name, client.state.code], ["ended", "other_user"]);
  assert.equal(stage.sockets.length, 1);
});

test("a welcome for another user than was wanted ends it", async () => {
  const stage = new Stage();
  const client = stage.client({ user: "ann" });
  stage.token = async () => "a string knows no user";
  client.join("lobby");

  await stage.welcome("lobby", { user: { user: "bob" } });

  assert.deepEqual([client.state.name, client.state.code], ["ended", "other_user"]);
  assert.equal(stage.socket.closedWith, 1000);
});

test("what a token callback has thrown by mistake is told", async () => {
  const stage = new Stage();
  const client = stage.client();
  const heard = listen(client, "error");
  stage.token = async () => undefined;
  client.join("lobby");
  await settle();

  assert.equal(client.state.name, "waiting");
  assert.match(heard[0][1].message, /has to give \{token\}/);
  assert.equal(heard[0][1].channel, "lobby");
});

// The network

test("without a network it waits without trying, and comes back a chance moment after it is there", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  await stage.welcome();
  stage.setOnline(false);
  assert.equal(client.state.name, "online"); // as long as the connection goes on
  stage.socket.end(1006);

  assert.deepEqual(client.state, { name: "offline" });
  await stage.clock.turn(3_600_000);
  assert.equal(stage.sockets.length, 1);
  stage.setOnline(true);
  assert.equal(client.state.until - stage.clock.time, 500);
  await stage.clock.turn(500);

  assert.equal(stage.sockets.length, 2);
});

test("without a network one can still insist", async () => {
  const stage = new Stage();
  stage.network.onLine = false; // which is a browser's guess
  const client = stage.client();
  client.join("lobby");
  await settle();
  stage.socket.end(1006);
  assert.equal(client.state.name, "offline");

  client.hurry();
  await stage.welcome();

  assert.equal(client.state.name, "online");
});

test("a network that is there again ends a long wait", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  await stage.welcome();
  stage.socket.end(4029);
  assert.equal(client.state.until - stage.clock.time, 8000);

  stage.setOnline(true);

  assert.equal(client.state.until - stage.clock.time, 500);
});

test("a connection that lived while the network changed is asked for a sign of life", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  const socket = await stage.welcome();
  await stage.clock.turn(12_000);

  stage.setOnline(false);
  stage.setOnline(true);
  assert.equal(socket.said.at(-1).type, "ping");
  await stage.clock.turn(9_999);
  assert.equal(client.state.name, "online");
  await stage.clock.turn(1);

  assert.equal(client.state.name, "waiting");
});

// Signs of life

test("a ping is answered", async () => {
  const stage = new Stage();
  stage.client().join("lobby");
  const socket = await stage.welcome();

  socket.tell({ type: "ping" });

  assert.deepEqual(socket.said, [{ type: "pong" }]);
});

test("silence beyond the ping interval is the end, and shortly before it the server is asked", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  const socket = await stage.welcome();
  await stage.clock.turn(30_000);
  socket.tell({ type: "ping" });

  await stage.clock.turn(34_999);
  assert.deepEqual(socket.said, [{ type: "pong" }]);
  await stage.clock.turn(1);
  assert.equal(socket.said.at(-1).type, "ping");
  await stage.clock.turn(4_999);
  assert.equal(client.state.name, "online");
  await stage.clock.turn(1);

  assert.equal(client.state.name, "waiting");
  assert.equal(socket.closedWith, 1000);
});

test("any answer to that question keeps the connection", async () => {
  const stage = new Stage();
  const client = stage.client();
  const heard = listen(client, "error");
  client.join("lobby");
  const socket = await stage.welcome();
  for (let round = 0; round < 5; round += 1) {
    await stage.clock.turn(35_000);
    const { type, id } = socket.said.at(-1);
    assert.equal(type, "ping");
    socket.tell(round % 2 ? { type: "pong" } : { type: "error", id, code: "bad_request", message: "the type is unknown", retry: false });
  }

  assert.equal(client.state.name, "online");
  assert.deepEqual(heard, []);
});

test("silence after something was said is found out sooner", async () => {
  const stage = new Stage();
  const client = stage.client();
  const lobby = client.join("lobby");
  await stage.welcome();

  lobby.publish("into the tunnel");
  await stage.clock.turn(9_999);
  assert.equal(client.state.name, "online");
  await stage.clock.turn(1);

  assert.equal(client.state.name, "waiting");
});

test("an ack that a slow log delays ends nothing while the server is there", async () => {
  const stage = new Stage();
  const client = stage.client();
  const lobby = client.join("lobby");
  const socket = await stage.welcome();

  const published = lobby.publish("slowly");
  await stage.clock.turn(5_000);
  const [probe] = socket.of("ping");
  socket.tell({ type: "error", id: probe.id, code: "bad_request", message: "the type is unknown", retry: false });
  await stage.clock.turn(20_000);
  assert.equal(socket.of("ping").length, 1);
  assert.equal(client.state.name, "online");
  socket.tell(ack("lobby", socket.of("publish")[0].id, 1));

  assert.equal((await published).offset, 1);
});

test("a handshake that is not answered is given up", async () => {
  const stage = new Stage();
  stage.client().join("lobby");
  await settle();

  await stage.clock.turn(15_500);

  assert.equal(stage.sockets.length, 2);
});

test("who has slept through a ping connects again at once", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  await stage.welcome();

  stage.clock.sleep(28_000);
  await stage.clock.turn(5_000);

  assert.equal(client.state.name, "waiting");
  assert.ok(client.state.until - stage.clock.time <= 1000);
});

test("who has slept through none goes on", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  await stage.welcome();
  for (let minute = 0; minute < 10; minute += 1) {
    stage.clock.sleep(20_000); // as in a tab that is hidden, whose timers come once a minute
    stage.socket.tell({ type: "ping" });
    await stage.clock.turn(5_000);
  }

  assert.equal(client.state.name, "online");
  assert.equal(stage.sockets.length, 1);
});

test("a wait that was slept through is over", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  await stage.welcome();
  stage.socket.end(1012, "retry=200");

  stage.clock.sleep(3_600_000);
  await stage.clock.turn(5_000);

  assert.equal(stage.sockets.length, 2);
});

test("a clock that is set back stops nothing, neither finding out about silence nor coming back", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  await stage.welcome();
  stage.clock.set(-3_600_000);
  await stage.clock.turn(75_000); // once more from when it is noticed
  assert.equal(client.state.name, "waiting");

  stage.clock.set(-3_600_000);
  await stage.clock.turn(5_500);

  assert.equal(stage.sockets.length, 2);
});
