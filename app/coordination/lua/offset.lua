-- offset.lua: what the clock of Octopus is ahead of ours.
--
-- needs: offset
--
-- Returns {"offset", least, most, "answer", "webhook" or "assumed"}; ms.

local least, most, how = octopus_offset()
return { "offset", math.floor(least), math.ceil(most), how }
