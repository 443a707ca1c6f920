# Runs a server that cannot outlive the process holding the other end of its standard input.
# A line there means: stop. End of file without a line means: the owner is gone, clean up after it.
#   sh -c "$(cat leash.sh)" leash <folder to remove when the owner is gone, or ''> <program> [arguments]
folder=$1
shift
exec 3<&0 </dev/null

"$@" 3<&- &
server=$!

(
    if read -r _ <&3; then owner_gone=0; else owner_gone=1; fi
    trap '' TERM # the kill below ends the wait there, which ends this subshell: not before it has answered
    kill -KILL "$server" 2>/dev/null
    exit "$owner_gone"
) &
leash=$!
exec 3<&-

wait "$server"
status=$?
exec 2>/dev/null # no notices about the subshell in the server's log
kill "$leash" # a server that ended by itself needs no leash
wait "$leash"
if [ $? -eq 1 ] && [ -n "$folder" ]; then rm -rf -- "$folder"; fi
exit "$status"
