// Create a channel, enter it, talk.  What comes from others is only ever inserted as text.

const $ = (id) => document.getElementById(id);
let socket = null;

const show = (text) => {
  const line = document.createElement("p");
  line.textContent = text;
  $("chat").append(line);
  line.scrollIntoView();
};

// URL-safe base64 of UTF-8, which btoa alone cannot.
const encode = (text) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(text))).replaceAll("+", "-").replaceAll("/", "_");

const post = async (path) => {
  const response = await fetch(path, { method: "POST" });
  const text = await response.text();
  if (!response.ok) throw new Error(text.trim());
  return text;
};

const create = async () => {
  const channel = $("channel").value;
  await post(`/new_channel/${encode(channel)}`);
  show(`Channel ${channel} was created.`);
};

const connect = async () => {
  socket?.close();
  const token = await post(`/new_token/${encode($("channel").value)}/${encode($("username").value)}`);
  document.cookie = `X-ChatToken=${token}; path=/chat; max-age=30; samesite=strict`;
  enter(new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/chat`));
};

const enter = (opened) => {
  socket = opened;
  const allow = () => { $("message").disabled = $("send").disabled = socket?.readyState !== WebSocket.OPEN; };
  opened.onopen = () => { allow(); $("message").focus(); };
  opened.onmessage = (event) => show(event.data);
  opened.onclose = () => { show("The connection has ended."); allow(); };
};

const reporting = (action) => (event) => {
  event.preventDefault();
  action().catch((error) => show(`Error: ${error.message}`));
};

const say = async () => {
  if ($("message").value === "") return;
  socket.send($("message").value);
  $("message").value = "";
};

$("create").addEventListener("click", reporting(create));
$("enter").addEventListener("submit", reporting(connect));
$("say").addEventListener("submit", reporting(say));
