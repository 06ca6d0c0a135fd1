"""English sentences of 3 to 60 words on many subjects: clauses, put together by a fixed seed."""

import random

CLAUSES = """\
the bread is stale
please close the window
the baker kneads the dough by hand before sunrise
a spoonful of honey makes the bitter tea taste better
my grandmother cooks lentil soup with cumin and lemon
the restaurant on the corner serves fish only on Fridays
nobody had washed the dishes
pepper was once worth more than silver
trains are late
the last bus to the airport leaves at half past eleven
heavy snow has closed the mountain pass since Tuesday
we missed our connection in Zurich and slept in the station
a bicycle needs neither fuel nor parking space
the pilot apologised for the turbulence over the Atlantic
tickets must be shown to the inspector
traffic on the motorway moves at walking pace every morning
her fever has gone
the surgeon removed a small tumour from his left lung
vaccines protect children against measles and polio
too much sitting is bad for the back
the dentist found two cavities and a cracked tooth
patients with asthma should avoid dust and cold air
he broke his ankle while skiing
a good night of sleep helps memory more than any pill
the choir sang beautifully
the violinist tuned her instrument in the dark
this film won three prizes at the festival in Venice
jazz came to Europe with American soldiers
the novel tells the story of a lighthouse keeper and his daughter
critics disliked the second act of the opera
his paintings hang in museums from Oslo to Madrid
she writes poems about rivers
the match ended in a draw
our goalkeeper saved two penalties in the final minute
the marathon runner drank water every five kilometres
chess is played by millions of people on the internet
the coach was dismissed after seven defeats in a row
swimming trains the heart and spares the knees
the tennis champion announced her retirement at thirty-four
rain is expected
a thunderstorm tore the roof off the old barn
the drought has emptied most reservoirs in the south
the river froze for the first time in forty years
autumn fog covers the valley until noon
temperatures will rise to thirty-eight degrees on Sunday
the hurricane turned back towards the open sea
the comet is visible
astronomers discovered a planet that circles two suns
the probe sent its last picture from beyond Neptune
gravity bends the light of distant galaxies
the moon raises the tides twice a day
helium was found in the sun before it was found on Earth
an electron has neither size nor colour
wolves howl at night
the kitten is afraid of the vacuum cleaner
bees tell each other by a dance where flowers are
elephants mourn their dead for many days
our dog buried the bone beneath the rose bush
salmon return to the stream in which they were born
the owl hears a mouse under the snow
prices keep rising
the central bank left its interest rate unchanged
she invested her savings in shares of a shipping company
unemployment fell to its lowest level since the war
the company will cut four thousand jobs in its factories
taxes on tobacco pay for new hospitals
he owes the landlord three months of rent
the shop accepts cash only
the server is down
a missing semicolon stopped the whole program
the password must contain a digit and a capital letter
our backup failed because the disk was full
she taught the computer to recognise handwritten digits
the update fixes a security hole in the browser
his telephone fell into the lake
parliament was dissolved
the mayor promised cheaper flats and safer streets
both countries signed the treaty after years of war
voters rejected the new constitution by a narrow majority
the minister resigned over a forged diploma
journalists are not admitted to the trial
the court acquitted the accused for lack of evidence
children love stories
the teacher explained fractions with slices of cake
the university admits only forty students of medicine a year
he never did his homework on time
the library lends telescopes and sewing machines as well as books
learning a language takes patience rather than talent
my sister married
the neighbours quarrel about a hedge
they adopted a girl from Peru
grandfather forgot where he had hidden the keys
the wedding was postponed until the spring
an old friend from school wrote to me yesterday
the roof leaks
the carpenter repaired the table with oak and glue
tomatoes need sun and very little wind
the plumber comes on Thursday to replace the boiler
we painted the kitchen yellow
moss grows on the north side of the wall
the Romans built this bridge without mortar
the castle burned down in the great fire of the city
a shepherd found the scrolls in a cave near the Dead Sea
the plague killed a third of the population of Europe
the emperor forbade the sale of salt
pirates once hid their gold on this island
""".splitlines()
BETWEEN = (", and ", ", but ", "; ", " because ", " although ", ", while ", " before ", ": ")
MOST_WORDS = 60


def sentences(count: int, seed: int = 1) -> list[str]:
    """Each another; about as many of each length."""
    rng = random.Random(seed)

    def one_of(choices):
        return choices[int(rng.random() * len(choices))]  # of what `random` gives the same in all versions

    made: dict[str, None] = {}
    while len(made) < count:
        wanted = 3 + len(made) * (MOST_WORDS - 14) // count
        text = one_of(CLAUSES)
        while len(text.split()) < wanted:
            text += one_of(BETWEEN) + one_of(CLAUSES)
        if len(text.split()) <= MOST_WORDS:
            made[f"{text[0].upper()}{text[1:]}."] = None
    return list(made)
