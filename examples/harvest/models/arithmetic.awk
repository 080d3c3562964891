# What small awks lack: some are built without `sqrt` and `^`. With these every
# machine gets the same digits, too.

function square(number) {
    return number * number
}

# Newton's method: from above it falls until it cannot get closer.
function root(number,    guess, next_guess) {
    if (number <= 0) return 0
    next_guess = number > 1 ? number : 1
    do {
        guess = next_guess
        next_guess = (guess + number / guess) / 2
    } while (next_guess < guess)
    return guess
}
