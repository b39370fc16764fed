-- A product whose payloads are JSON already.

function jds2pri(bizcode, cmd)
  return 0, #cmd, cmd
end

function pri2jds(bizcode, length, bin)
  return 0, bin, bizcode
end
