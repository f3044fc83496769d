/** Where in a channel's log somebody is: `offset` of the last event heard, 0 before the first; it means something within its `epoch`. */
export interface Position {
  epoch: string;
  offset: number;
}

/** What a token callback resolves to: the JSON of `POST {prefix}/token` will do. */
export interface Token {
  token: string;
  /** With it, what another user has left in the storage is thrown away before anything is asked for. */
  username?: string;
}

/**
 * What a token callback may throw. `status` is HTTP's: 401 ends the client, other 4xx end that channel, but 408, 425, 429, 5xx and
 * none are tried again, after `retryAfter` seconds where that is given.
 */
export interface TokenRefusal {
  status?: number;
  retryAfter?: number | null;
  code?: string;
  message?: string;
}

/** Whether there is a network, and the events `online`, `offline` and `pagehide`: a browser's window. */
export interface Network {
  readonly onLine?: boolean | undefined;
  addEventListener(type: string, listener: (event: Event) => void): void;
  removeEventListener(type: string, listener: (event: Event) => void): void;
}

export interface ClientOptions {
  /** Of the WebSocket, `{prefix}/ws`: absolute (ws, wss, http, https) or relative to the page. */
  url: string | URL;
  /** Called once for each handshake and each join, because a token is good for one. A string is good for one handshake. */
  token: string | ((channel: string) => Promise<Token | string> | Token | string);
  /** Who is to be connected; a token of another user ends the client with `other_user`. By default the first token says. */
  user?: string | null;
  /** Keeps positions and what was not sent: sessionStorage, which is one tab's own; null (the default) keeps nothing. */
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
  /** What comes before its keys in the storage; "chat" by default. */
  key?: string;
  /** In place of the global one. */
  WebSocket?: unknown;
  setTimeout?: (act: () => void, ms: number) => unknown;
  clearTimeout?: (timer: any) => void;
  /** ms, by a clock that goes on while a computer sleeps; Date.now by default. */
  now?: () => number;
  random?: () => number;
  online?: Network;
}

export type ClientState =
  | { name: "idle" }
  | { name: "connecting"; isAgain: boolean }
  | { name: "online" }
  /** `until`: ms, as Date.now(); `isOrdered`: the server has asked for that, and `hurry` does not cut it short. */
  | { name: "waiting"; until: number; isOrdered: boolean }
  /** The browser says that there is no network. */
  | { name: "offline" }
  /** `code`: "logged_out", "other_user" or "refused"; only `connect` leaves it. */
  | { name: "ended"; code: string; text: string; error: ChatError };

export type ChannelState =
  | { name: "joining" }
  | { name: "joined" }
  | { name: "waiting" }
  | { name: "left" }
  /**
   * `code`: "channel_closed", "replaced", "kicked", "banned", "other_channel", "too_many_channels", that of the refusal of a token or a
   * join, or the client's.
   */
  | { name: "ended"; code: string; text: string };

/** What the server allows; `rate` in messages a second (0: no limit), `message` in bytes of UTF-8. */
export interface Limits {
  message: number;
  rate: number;
  channels: number;
  history: number;
}

export interface User {
  user: string;
  name?: string;
}

/** Of each join; and again, on an open connection, when the channel's log goes on from another place, which `lost` tells too. */
export interface Welcome {
  channel: string;
  user: User;
  /** Cut at 100; `count` is true. */
  users: User[];
  count: number;
  epoch: string;
  offset: number;
  /** Everything after the position follows. */
  recovered: boolean;
  ping: number;
  limits: Limits;
}

export interface Message {
  channel: string;
  offset: number;
  id: string | null;
  /** "" is the system. */
  from: string;
  text: string;
  /** RFC 3339, UTC. */
  date: string;
}

/** The message at `target` has another text now. */
export interface Edit extends Message {
  target: number;
}

/** The message at `target` was taken back. */
export interface Delete extends Omit<Message, "text"> {
  target: number;
}

export interface Whisper extends Omit<Message, "offset"> {
  to: string;
}

export interface Presence {
  channel: string;
  joined: User[];
  left: User[];
  count: number;
}

/** A message of the history, as it now is. */
export interface Past extends Omit<Message, "channel"> {
  /** When it was edited last. */
  edited?: string;
  deleted?: string;
}

export interface Page {
  /** Oldest first. */
  events: Past[];
  /** Whether there is more in that direction. */
  more: boolean;
}

/** `offset` is null for a whisper, and for what the application dropped. */
export interface Published {
  id: string;
  offset: number | null;
}

export interface Sent extends Published {
  text: string;
  to: string | null;
}

export interface Pending {
  id: string;
  text: string;
  to: string | null;
  /** A queued one goes out by itself. */
  state: "queued" | "sent" | "failed";
  /** Why it has failed, or, queued, why it was not taken the last time. `retry`: trying again may help. */
  error: ChatError | null;
  /** When it was said: ms, as Date.now(). */
  since: number;
}

/** Something that went wrong and ends nothing. */
export interface Complaint {
  code: string;
  message: string;
  retry: boolean;
  channel: string | null;
}

export interface ClientEvents {
  state: CustomEvent<ClientState>;
  error: CustomEvent<Complaint>;
}

export interface ChannelEvents {
  state: CustomEvent<ChannelState>;
  welcome: CustomEvent<Welcome>;
  message: CustomEvent<Message>;
  edit: CustomEvent<Edit>;
  delete: CustomEvent<Delete>;
  whisper: CustomEvent<Whisper>;
  joined: CustomEvent<{ channel: string; user: User }>;
  left: CustomEvent<{ channel: string; user: User }>;
  presence: CustomEvent<Presence>;
  /** Show it for 5 s, or until that user's message. */
  typing: CustomEvent<{ channel: string; user: User }>;
  /** What follows the old position is not known: forget what was shown, load the newest page of history, go on from here. */
  lost: CustomEvent<Position>;
  sent: CustomEvent<Sent>;
  /** `pending`, which has changed. */
  outbox: CustomEvent<Pending[]>;
}

type Listener<E> = ((event: E) => void) | { handleEvent(event: E): void };

/** What was refused, or given up; `retry`: the same may succeed later. */
export class ChatError extends Error {
  constructor(code: string, message: string, retry?: boolean);
  code: string;
  retry: boolean;
}

/** One channel; its events come once each and in order, whatever is cut. Made by `ChatClient.join`. */
export class ChatChannel extends EventTarget {
  private constructor();
  readonly name: string;
  readonly state: ChannelState;
  /** Of what was heard last; null before the first welcome. */
  readonly position: Position | null;
  /** What was said here and is not confirmed, in the order of saying. */
  readonly pending: Pending[];
  /**
   * Say something to everybody, or whisper it `to` one user. It waits for the connection, and outlives a reload, for 5 minutes.
   * Rejects with ChatError, which may be left alone, for it is told of in `pending` too; after "unconfirmed" it may have been said.
   */
  publish(text: string, options?: { to?: string | null; id?: string }): Promise<Published>;
  edit(offset: number, text: string): Promise<Published>;
  delete(offset: number): Promise<Published>;
  /** The newest `limit` (50) messages, or those `before` or `after` an offset. */
  history(range?: { before?: number; after?: number; limit?: number }): Promise<Page>;
  /** The user has seen everything up to `offset`. */
  read(offset: number): void;
  /** The user is writing; call it for every key. */
  typing(): void;
  /** Say again what has failed. */
  retry(id: string): Promise<Published>;
  /** Forget what is pending. */
  discard(id: string): void;
  /** What was not sent fails. */
  leave(): Promise<void>;
  addEventListener<K extends keyof ChannelEvents>(type: K, listener: Listener<ChannelEvents[K]> | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof ChannelEvents>(type: K, listener: Listener<ChannelEvents[K]> | null, options?: boolean | EventListenerOptions): void;
}

/** Several channels over one WebSocket that is kept open. */
export class ChatClient extends EventTarget {
  constructor(options: ClientOptions);
  readonly state: ClientState;
  /** Whose connection it is; null while that is not known. */
  readonly user: string | null;
  /** null before the first welcome. */
  readonly limits: Limits | null;
  /** Those that were joined and not left, by name. */
  readonly channels: Map<string, ChatChannel>;
  /** The same name gives the same object until it is left. `position`: where to go on; null begins anew; by default the stored one. Ignored while it is joining or joined. */
  join(name: string, options?: { position?: Position | null }): ChatChannel;
  /** Connect now, whatever was going on. */
  connect(): void;
  /** Try at once instead of waiting on, unless the server has said how long. */
  hurry(): void;
  /** Disconnect, and keep what is pending for the next `connect`. */
  close(): void;
  addEventListener<K extends keyof ClientEvents>(type: K, listener: Listener<ClientEvents[K]> | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof ClientEvents>(type: K, listener: Listener<ClientEvents[K]> | null, options?: boolean | EventListenerOptions): void;
}
