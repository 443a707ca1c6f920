# Becomes the program given as arguments, which is told to stop (SIGTERM) when standard input ends: also when the
# owner of its other end was killed.
#   sh -c "$(cat operator.sh)" operator <program> [arguments]
exec 3<&0 </dev/null
(
    cat <&3 >/dev/null
    kill -TERM $$ 2>/dev/null # the shell outside, which has become the program
) &
exec "$@" 3<&-
