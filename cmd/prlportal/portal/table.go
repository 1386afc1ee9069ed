package portal

// timeForPeople is local time with its zone; machines get RFC 3339 in UTC.
const timeForPeople = "2006-01-02 15:04 MST"

// emptyCell stands where there is nothing to say.
const emptyCell = "–"

// maxCell is the widest that a cell of a table gets, in columns of the terminal.
const maxCell = 36
