-- Compare and append: stores event `seq` of a log if exactly the events before it are there.
--
-- A plain XADD with the id `seq-0` refuses what is not greater than the newest id, and a writer that
-- takes this for "I have it already" loses every event that a later one has overtaken. So: an event
-- counts as stored only if the bytes are equal, and nothing is ever stored behind a gap.
--
-- KEYS  1 the log's stream   2 the index of logs
-- ARGV  1 log id   2 how often the log has moved   3 channel of live events   4 seq   5 event
-- Returns { "ok" | "had" | "gap" | "hole" | "fork" | "moved" | "unlisted" | "type", number or text },
-- for "fork" also what lies there, or nothing if it is larger than our largest event (limits.py).
-- One write at most, and only for "ok": two would be a transaction in the append-only file, and Redis
-- 7.0 leaves transactions out, without an error, when it loads that file with the default user off.
local stream, index = KEYS[1], KEYS[2]
local log, moves, channel, seq, event = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]

for key, kind in pairs({ [stream] = 'stream', [index] = 'hash' }) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= kind then
    return { 'type', key .. ' is a ' .. found .. ' and not a ' .. kind }
  end
end

local listed = tonumber(redis.call('HGET', index, log) or '-1') or -1
if listed > moves then return { 'moved', listed } end
if listed < moves then return { 'unlisted', 0 } end

-- The id given last, not the newest entry's: XDEL of the newest leaves an id that is never free again.
local top, held = 0, 0
if redis.call('EXISTS', stream) == 1 then
  local info = redis.call('XINFO', 'STREAM', stream)
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' then top = tonumber(string.match(info[at + 1], '^%d+')) end
    if info[at] == 'length' then held = info[at + 1] end
  end
end
if held ~= top then return { 'hole', held .. ' of ' .. top .. ' events are there' } end

if seq > top + 1 then return { 'gap', top } end
if seq <= top then
  local entry = redis.call('XRANGE', stream, seq .. '-0', seq .. '-0')[1]
  if entry and #entry[2] == 2 and entry[2][2] == event then return { 'had', top } end
  local other = entry and entry[2][2] or ''
  return { 'fork', seq, #other <= 262144 and other or '' }
end
redis.call('XADD', stream, seq .. '-0', 'event', event)
redis.call('PUBLISH', channel, event)
return { 'ok', seq }
