"""What is done in the Redis, in Lua: all of one script or nothing of it, and nobody else meanwhile.

Of each log there is `meta`, a hash with its epoch, the offset before the first event of that epoch (its base) and that of
the last one, up to where it is archived, by whom, and when that one was last heard of, and whether it was closed; `stream`,
with one entry for each batch, whose id is the offset of its last event, and which keeps what is not archived of earlier
epochs too; and `ids`, two hashes with what was said in the last 5 to 10 minutes.
"""

from typing import Final

from chat.bus import Script

STATE: Final = Script("""
-- KEYS meta, stream; ARGV first offset wanted, or -n for the last n; entries at most
-- -> epoch, its base, offset, archived, closed, entries; nothing where there is no log
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'base', 'offset', 'archived', 'closed')
if not meta[1] then return {} end
local first = tonumber(ARGV[1])
if first < 0 then first = math.max(tonumber(meta[3]) + first, tonumber(meta[2])) + 1 end
if not meta[5] then redis.call('PERSIST', KEYS[2]) end
local entries = redis.call('XRANGE', KEYS[2], string.format('%.0f-0', first), '+', 'COUNT', ARGV[2])
return {meta[1], meta[2], meta[3], meta[4], meta[5] or '', entries}
""")

BEGIN: Final = Script("""
-- KEYS meta, stream, topic
-- ARGV the epoch that is to end ('': only where there is no log), the new one, the offset before it, how to publish
-- -> as above, without entries; of who was first
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset')
if not meta[1] or meta[1] == ARGV[1] then
    local base = string.format('%.0f', math.max(tonumber(meta[2] or '0'), tonumber(ARGV[3])))
    redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'base', base, 'offset', base)
    if not meta[1] then
        redis.call('DEL', KEYS[2])
        redis.call('HSET', KEYS[1], 'archived', base)
    end
    redis.call(ARGV[4], KEYS[3], string.format('%s %.0f 0 \\n', ARGV[2], base + 1))
end
meta = redis.call('HMGET', KEYS[1], 'epoch', 'base', 'offset', 'archived', 'closed')
return {meta[1], meta[2], meta[3], meta[4], meta[5] or '', {}}
""")

PUBLISH: Final = Script("""
-- KEYS meta, stream, ids, earlier ids, topic, who is listed
-- ARGV how to publish, epoch, last offset known here, milliseconds since 1970, events that the stream keeps,
--      events of one epoch that may wait for the archive (0: there is none), for each line its kind (logged 'L', who has
--      come 'j', who has left 'l', several of both 's', others 'n'), lines, lines of what is logged ('': all are), who
--      publishes, for each logged one its sender and id ('': none), and for each 'j' and 'l' the name, for 's' a line for
--      each name, behind a + or a -
-- -> who archives, first offset [, the offset of each, where not all is told [, who of several was omitted]]; or a word
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'archived', 'closed', 'archiver', 'base')
if meta[4] then return 'closed' end
if meta[1] ~= ARGV[2] then return 'moved' end
local offset, archived, now, room = tonumber(meta[2]), tonumber(meta[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
if offset < tonumber(ARGV[3]) then return 'moved' end
local kinds, lines, logged = ARGV[7], ARGV[8], ARGV[9]
local _, count = string.gsub(kinds, 'L', '')
if room > 0 and count > 0 and offset - math.max(archived, tonumber(meta[6])) >= room then return 'full' end

local ids, known = {}, {}
for i = 1, count do
    if ARGV[10 + i] ~= '' then ids[#ids + 1] = ARGV[10 + i] end
end
if #ids > 0 then
    for key = 3, 4 do
        local found = redis.call('HMGET', KEYS[key], unpack(ids))
        for i, id in ipairs(ids) do
            if found[i] then
                local where, said = string.match(found[i], '^(%d+) (%d+)$')
                if now - tonumber(said) < 300000 then known[id] = where end
            end
        end
    end
end

-- Who has come is told only as long as they are here, and who has left as long as not: so what is told last is true, though
-- the process that a user has left may be slower to say so than the one that the user has come back to.  A folded notice is
-- to be said anew, without those of whom it is not true.
local untrue, omitted = {}, {}
if #ARGV > 10 + count then
    local n = 10 + count
    for i = 1, #kinds do
        local kind = string.sub(kinds, i, i)
        if kind == 'j' or kind == 'l' then
            n = n + 1
            if (redis.call('HEXISTS', KEYS[6], ARGV[n]) == 1) ~= (kind == 'j') then untrue[i] = true end
        elseif kind == 's' then
            n = n + 1
            for sign, name in string.gmatch(ARGV[n], '([+-])([^\\n]+)') do
                if (redis.call('HEXISTS', KEYS[6], name) == 1) ~= (sign == '+') then
                    untrue[i] = true
                    omitted[#omitted + 1] = name
                end
            end
        end
    end
end

local first, places = offset + 1, nil
if next(known) or next(untrue) then
    places = {}
    local kept, kept_logged, i, n = {}, {}, 0, 0
    for line in string.gmatch(lines, '[^\\n]+') do
        i = i + 1
        local is_logged = string.sub(kinds, i, i) == 'L'
        local place
        if is_logged then
            n = n + 1
            place = known[ARGV[10 + n]]
            if not place then
                offset = offset + 1
                place = string.format('%.0f', offset)
                kept_logged[#kept_logged + 1] = line
            end
            places[n] = place
        end
        if is_logged and not known[ARGV[10 + n]] or not is_logged and not untrue[i] then kept[#kept + 1] = line end
    end
    lines = #kept > 0 and table.concat(kept, '\\n') .. '\\n' or ''
    logged = #kept_logged > 0 and table.concat(kept_logged, '\\n') .. '\\n' or ''
else
    offset = offset + count
    if logged == '' then logged = lines end
end

local begin, last = string.format('%.0f', first), string.format('%.0f', offset)
if offset >= first then
    local keep = offset - tonumber(ARGV[5])
    if room > 0 and archived < keep then keep = archived end
    redis.call('XADD', KEYS[2], 'MINID', '~', string.format('%.0f', math.max(keep, 0)), last .. '-0', begin, logged)
    redis.call('PERSIST', KEYS[2])
    redis.call('HSET', KEYS[1], 'offset', last)
    local said = {}
    local place = first
    for i = 1, count do
        local id = ARGV[10 + i]
        if not known[id] then
            if id ~= '' then
                said[#said + 1] = id
                said[#said + 1] = string.format('%.0f %s', place, ARGV[4])
            end
            place = place + 1
        end
    end
    if #said > 0 and redis.call('HSET', KEYS[3], unpack(said)) == redis.call('HLEN', KEYS[3]) then
        redis.call('EXPIRE', KEYS[3], 660)
    end
end
if lines ~= '' then
    local header = string.format('%s %s %.0f %s', ARGV[2], begin, offset - first + 1, ARGV[10])
    redis.call(ARGV[1], KEYS[5], header .. '\\n' .. lines)
end
return {meta[5] or '', begin, places, #omitted > 0 and omitted or nil}
""")

END: Final = Script("""
-- KEYS meta, topic, stream, ids, earlier ids; ARGV how to publish, the order, seconds
redis.call('HSET', KEYS[1], 'closed', '1')
for i, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[3]) end
return redis.call(ARGV[1], KEYS[2], ARGV[2])
""")

CLAIM: Final = Script("""
-- KEYS meta; ARGV who wants to archive, milliseconds since 1970, for how many of them whoever does it may be silent
-- -> who archives, and up to where it is done; nothing where there is no log
local meta = redis.call('HMGET', KEYS[1], 'archiver', 'archived', 'offset', 'seen')
if not meta[2] then return {} end
local is_left = meta[2] ~= meta[3] and ARGV[2] - (meta[4] or 0) >= tonumber(ARGV[3])
if not meta[1] or meta[1] == ARGV[1] or is_left then
    redis.call('HSET', KEYS[1], 'archiver', ARGV[1], 'seen', ARGV[2])
    meta[1] = ARGV[1]
end
return {meta[1], meta[2]}
""")

ADVANCE: Final = Script("""
-- KEYS meta; ARGV who has archived, in which epoch, up to where, milliseconds since 1970 -> whether that one still archives
local meta = redis.call('HMGET', KEYS[1], 'archiver', 'epoch', 'archived', 'offset')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then return 0 end
if tonumber(ARGV[3]) > tonumber(meta[4]) then return 0 end  -- what is archived was lost here, and not told yet
redis.call('HSET', KEYS[1], 'seen', ARGV[4], 'archived', string.format('%.0f', math.max(ARGV[3], meta[3])))
return 1
""")

LEAVE: Final = Script("""
-- KEYS meta, stream; ARGV who leaves, whether there is an archive, seconds that the stream is kept from here on
local meta = redis.call('HMGET', KEYS[1], 'archiver', 'offset', 'archived')
if meta[1] == ARGV[1] then redis.call('HDEL', KEYS[1], 'archiver') end
if ARGV[2] == '0' or meta[2] == meta[3] then redis.call('EXPIRE', KEYS[2], ARGV[3]) end
return 1
""")

FORGET: Final = Script("""
-- KEYS meta, topic; ARGV who is dead, how to publish, an order: who came and left by that one may not have been told
-- -> whether that one was to archive, and has not archived all
redis.call(ARGV[2], KEYS[2], ARGV[3])
local meta = redis.call('HMGET', KEYS[1], 'archiver', 'offset', 'archived')
if meta[1] ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'archiver')
return meta[2] ~= meta[3] and 1 or 0
""")
